//! By what an answer is split, as a message.

use crate::query::v1::{self as wire, date_group::Part, group};
use crate::question::{column, malformed, predicate, predicate_to_wire, row_value, row_value_to_wire};
use firebreak_domain::Refusal;
use firebreak_query::{Category, DatePart, Decimal, Group};

pub(crate) fn group_from_wire(group: &wire::Group) -> Result<Group, Refusal> {
    let category = category(group.category.as_ref().ok_or_else(|| malformed("a group names nothing"))?)?;
    let name = if group.name.is_empty() { category.default_name() } else { group.name.clone() };
    Ok(Group { name, category })
}

fn category(node: &group::Category) -> Result<Category, Refusal> {
    match node {
        group::Category::Column(name) => column(name).map(Category::Column),
        group::Category::WidthBucket(bucket) => {
            let number = |text: &str| text.parse::<Decimal>().map_err(|_| malformed("an end is not a decimal number"));
            let value = bucket.value.as_ref().ok_or_else(|| malformed("a width_bucket has no value"))?;
            Ok(Category::Bucket {
                value: row_value(value)?,
                low: number(&bucket.low)?,
                high: number(&bucket.high)?,
                buckets: bucket.buckets,
            })
        }
        group::Category::Date(date) => {
            let part = match date.part() {
                Part::Unspecified => return Err(malformed("a group of dates names no part")),
                Part::Year => DatePart::Year,
                Part::Quarter => DatePart::Quarter,
                Part::Month => DatePart::Month,
                Part::Week => DatePart::Week,
                Part::QuarterOfYear => DatePart::QuarterOfYear,
                Part::MonthOfYear => DatePart::MonthOfYear,
                Part::WeekOfYear => DatePart::WeekOfYear,
                Part::DayOfWeek => DatePart::DayOfWeek,
                Part::DayOfMonth => DatePart::DayOfMonth,
                Part::DayOfYear => DatePart::DayOfYear,
            };
            Ok(Category::Date { part, column: column(&date.column)? })
        }
        group::Category::Case(case) => {
            let branch = |when: &wire::When| {
                let condition = when.condition.as_ref().ok_or_else(|| malformed("a WHEN has no condition"))?;
                Ok((predicate(condition)?, when.label.clone()))
            };
            let branches = case.when.iter().map(branch).collect::<Result<_, Refusal>>()?;
            Ok(Category::Case { branches, otherwise: case.otherwise.clone() })
        }
    }
}

pub(crate) fn group_to_wire(Group { name, category }: &Group) -> wire::Group {
    let node = match category {
        Category::Column(column) => group::Category::Column(column.to_string()),
        Category::Bucket { value, low, high, buckets } => group::Category::WidthBucket(wire::WidthBucket {
            value: Some(row_value_to_wire(value)),
            low: low.to_string(),
            high: high.to_string(),
            buckets: *buckets,
        }),
        Category::Date { part, column } => {
            let part = match part {
                DatePart::Year => Part::Year,
                DatePart::Quarter => Part::Quarter,
                DatePart::Month => Part::Month,
                DatePart::Week => Part::Week,
                DatePart::QuarterOfYear => Part::QuarterOfYear,
                DatePart::MonthOfYear => Part::MonthOfYear,
                DatePart::WeekOfYear => Part::WeekOfYear,
                DatePart::DayOfWeek => Part::DayOfWeek,
                DatePart::DayOfMonth => Part::DayOfMonth,
                DatePart::DayOfYear => Part::DayOfYear,
            };
            group::Category::Date(wire::DateGroup { part: part.into(), column: column.to_string() })
        }
        Category::Case { branches, otherwise } => {
            let when = |(condition, label): &(_, String)| wire::When {
                condition: Some(predicate_to_wire(condition)),
                label: label.clone(),
            };
            group::Category::Case(wire::Case {
                when: branches.iter().map(when).collect(),
                otherwise: otherwise.clone(),
            })
        }
    };
    wire::Group { name: name.clone(), category: Some(node) }
}
