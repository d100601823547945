//! The clauses of the statement.

use super::categories::{self, Listed};
use super::outputs::Outputs;
use super::{bare, conditions, folded, place, refuse, too_large, view};
use crate::to_sql::short;
use crate::{AggregateQuery, Decimal, Group, Literal, MAX_JOINS, of_dataset};
use firebreak_domain::{ColumnName, CutId, DatasetId, ReasonCode, Refusal, Rho};
use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, GroupByExpr, GroupByWithModifier, Ident, Join, JoinConstraint, JoinOperator,
    LimitClause, ObjectName, OrderBy, Query, Select, SelectItem, SetExpr, Setting, TableFactor, TableVersion,
    TableWithJoins,
};
use sqlparser::tokenizer::Location;

/// The datasets of FROM.
pub(super) struct Source {
    /// One, or those that are joined.
    datasets: Vec<Named>,
    /// What the joins say to be equal.
    on: Vec<ColumnName>,
    /// Whether they say no more than that it is the person.
    on_person: bool,
    cut: Option<CutId>,
}

/// A dataset and the names by which its columns may be qualified.
struct Named {
    id: DatasetId,
    qualifiers: Vec<String>,
}

pub(super) fn question(query: Query) -> Result<AggregateQuery, Refusal> {
    // INVARIANT: every field is named, so a clause that a later parser learns to read cannot slip through unread.
    let Query { with, body, order_by, limit_clause, fetch, locks, for_clause, settings, format_clause, pipe_operators } =
        query;
    if with.is_some() {
        return Err(refuse(ReasonCode::SubqueryAsked, None, "WITH"));
    }
    let select = match *body {
        SetExpr::Select(select) => *select,
        SetExpr::Query(_) => return Err(refuse(ReasonCode::SubqueryAsked, None, "the statement stands in brackets")),
        SetExpr::SetOperation { .. } | SetExpr::Values(_) => return Err(Refusal::new(ReasonCode::SetOperationAsked)),
        SetExpr::Table(_) => return Err(refuse(ReasonCode::RowsAsked, None, "TABLE")),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            return Err(Refusal::new(ReasonCode::NotASelect));
        }
    };
    unsupported(&[
        ("FETCH: write LIMIT", fetch.is_some()),
        ("FOR", !locks.is_empty() || for_clause.is_some()),
        ("FORMAT", format_clause.is_some()),
        ("a pipe", !pipe_operators.is_empty()),
    ])?;
    let rho = price(settings.as_deref().unwrap_or_default())?;
    let mut question = of_select(select, order_by.as_ref(), limit_clause.as_ref())?;
    question.rho = rho;
    Ok(question)
}

fn unsupported(clauses: &[(&str, bool)]) -> Result<(), Refusal> {
    match clauses.iter().find(|(_, present)| *present) {
        Some((clause, _)) => Err(refuse(ReasonCode::UnsupportedClause, None, clause)),
        None => Ok(()),
    }
}

fn of_select(
    select: Select,
    order_by: Option<&OrderBy>,
    limit: Option<&LimitClause>,
) -> Result<AggregateQuery, Refusal> {
    // INVARIANT: every field is named, as above. Hints and the order of words change nothing.
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into,
        from,
        lateral_views,
        prewhere,
        selection,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor: _,
    } = select;
    let source = source(&from)?;
    unsupported(&[
        ("DISTINCT stands only in COUNT(DISTINCT ..)", distinct.is_some_and(|d| d != Distinct::All)),
        ("TOP", top.is_some()),
        ("INTO", into.is_some()),
        ("WINDOW and QUALIFY", !named_window.is_empty() || qualify.is_some()),
        (
            "SORT BY, CLUSTER BY and DISTRIBUTE BY",
            ![cluster_by, distribute_by].concat().is_empty() || !sort_by.is_empty(),
        ),
        ("LATERAL", !lateral_views.is_empty()),
        ("PREWHERE", prewhere.is_some()),
        ("CONNECT BY", !connect_by.is_empty()),
        ("a modifier of SELECT", select_modifiers.is_some() || value_table_mode.is_some() || exclude.is_some()),
    ])?;
    let listed = projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) => Some((expr, None)),
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, Some(alias))),
        _ => None,
    });
    let listed = Listed::read(listed, &source)?;
    let (group_by, grouping_sets) = groups(&group_by, &listed, &source)?;
    let filter = selection.as_ref().map(|expr| conditions::condition(expr, &source)).transpose()?;
    let mut outputs = Outputs::new(&source, &group_by);
    for item in &projection {
        match item {
            SelectItem::UnnamedExpr(expr) => outputs.add(expr, None)?,
            SelectItem::ExprWithAlias { expr, alias } => outputs.add(expr, Some(alias))?,
            SelectItem::ExprWithAliases { expr, .. } => {
                return Err(refuse(ReasonCode::UnsupportedExpression, place(expr), "an output has one name"));
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                return Err(refuse(ReasonCode::RowsAsked, None, "* is every column of every row"));
            }
        }
    }
    let view = view::view(&mut outputs, having.as_ref(), order_by, limit)?;
    let (measures, outputs) = outputs.finish()?;
    let (dataset, joins) = source.joined().ok_or_else(|| Refusal::new(ReasonCode::UnknownDataset))?;
    let Source { cut, on_person, .. } = source;
    let partial = false;
    Ok(AggregateQuery {
        dataset,
        joins,
        on_person,
        partial,
        cut,
        filter,
        group_by,
        grouping_sets,
        measures,
        outputs,
        view,
        rho: None,
    })
}

fn groups(
    group_by: &GroupByExpr,
    listed: &Listed<'_>,
    source: &Source,
) -> Result<(Vec<Group>, Vec<Vec<usize>>), Refusal> {
    let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
        return Err(refuse(ReasonCode::UnsupportedClause, None, "GROUP BY ALL: name the columns"));
    };
    let each = || expressions.iter().map(|expr| vec![expr.clone()]).collect();
    match modifiers.as_slice() {
        [] => categories::groups(expressions, listed, source),
        [GroupByWithModifier::Rollup] => categories::groups(&[Expr::Rollup(each())], listed, source),
        [GroupByWithModifier::Cube] => categories::groups(&[Expr::Cube(each())], listed, source),
        _ => Err(refuse(ReasonCode::UnsupportedClause, None, "TOTALS: write GROUP BY ROLLUP (..)")),
    }
}

fn price(settings: &[Setting]) -> Result<Option<Rho>, Refusal> {
    let mut rho = None;
    for Setting { key, value } in settings {
        if folded(key) != "rho" || rho.is_some() {
            let what = "the one setting is rho, and it stands once";
            return Err(refuse(ReasonCode::UnsupportedClause, Some(key.span.start), what));
        }
        let literal = conditions::literal(value)?;
        let nano = match literal {
            Literal::Number(number) => number.fixed_point(9).and_then(|nano| u64::try_from(nano).ok()),
            Literal::Text(_) | Literal::Date(_) => None,
        };
        let nano = nano.filter(|nano| *nano > 0).ok_or_else(|| {
            refuse(ReasonCode::LiteralMismatch, place(value), "rho is a number above 0 with at most 9 decimals")
        })?;
        rho = Some(Rho::from_nano(nano));
    }
    Ok(rho)
}

fn source(from: &[TableWithJoins]) -> Result<Source, Refusal> {
    let [TableWithJoins { relation, joins }] = from else {
        return Err(if from.is_empty() {
            refuse(ReasonCode::UnknownDataset, None, "there is no FROM")
        } else {
            refuse(ReasonCode::JoinAsked, None, JOIN)
        });
    };
    if joins.len() > MAX_JOINS {
        return Err(too_large());
    }
    let (first, cut) = table(relation)?;
    let mut source = Source { datasets: vec![first], on: Vec::new(), on_person: false, cut };
    for join in joins {
        let (joined, cut) = table(&join.relation)?;
        if source.datasets.iter().any(|dataset| dataset.id == joined.id) {
            return Err(refuse(ReasonCode::JoinAsked, None, "a dataset is joined to others, not to itself"));
        }
        match (&source.cut, cut) {
            (None, cut) => source.cut = cut,
            (Some(known), Some(cut)) if *known != cut => {
                return Err(refuse(ReasonCode::UnknownCut, None, "the datasets of a join are asked as of one cut"));
            }
            (Some(_), _) => {}
        }
        source.join(joined, join)?;
    }
    if source.on_person && source.datasets.len() > 2 {
        return Err(refuse(ReasonCode::JoinAsked, None, "ON PERSON joins two datasets, one of each of two agencies"));
    }
    source.datasets.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(source)
}

/// How datasets are joined.
const JOIN: &str = "JOIN other USING (person), or ON a.person = b.person, for datasets of one agency; JOIN other ON \
                    PERSON for those of two; on any other identifier there is the match service";

/// One dataset of FROM, and the cut that is named beside it.
fn table(relation: &TableFactor) -> Result<(Named, Option<CutId>), Refusal> {
    // INVARIANT: every field is named, as above.
    let (name, alias, version) = match relation {
        TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            unsupported(&[
                ("a table function", args.is_some() || *with_ordinality || json_path.is_some()),
                ("a sample: the dataset's own bound on contributions is what samples", sample.is_some()),
                ("hints and partitions", !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty()),
            ])?;
            (name, alias, version)
        }
        TableFactor::Derived { .. } => return Err(Refusal::new(ReasonCode::SubqueryAsked)),
        TableFactor::NestedJoin { .. } => return Err(refuse(ReasonCode::JoinAsked, None, JOIN)),
        _ => return Err(refuse(ReasonCode::UnsupportedClause, None, "FROM names a dataset")),
    };
    let parts = name_parts(name).ok_or_else(|| refuse(ReasonCode::UnknownDataset, None, "FROM names a dataset"))?;
    let at = name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
    let full = parts.join(".");
    let id = DatasetId::new(full.clone())
        .map_err(|_| refuse(ReasonCode::UnknownDataset, at, "this is not the form of a dataset's id"))?;
    let mut qualifiers = vec![full];
    match alias {
        None => qualifiers.extend(parts.last().filter(|_| parts.len() > 1).cloned()),
        Some(alias) => {
            unsupported(&[("names for columns in FROM", !alias.columns.is_empty() || alias.at.is_some())])?;
            qualifiers = vec![folded(&alias.name)];
        }
    }
    let cut = version.as_ref().map(|version| named_cut(version, at)).transpose()?;
    Ok((Named { id, qualifiers }, cut))
}

fn name_parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0.iter().map(|part| part.as_ident().map(folded)).collect()
}

fn named_cut(version: &TableVersion, at: Option<Location>) -> Result<CutId, Refusal> {
    let TableVersion::ForSystemTimeAsOf(expr) = version else {
        return Err(refuse(ReasonCode::UnsupportedClause, at, "a cut is named by FOR SYSTEM_TIME AS OF '...'"));
    };
    let name = match conditions::literal(expr)? {
        Literal::Text(name) => name,
        Literal::Date(day) => day.to_string(),
        Literal::Number(number) => Decimal::to_string(&number),
    };
    CutId::new(name).map_err(|_| refuse(ReasonCode::UnknownCut, place(expr), "this is not the form of a cut's name"))
}

impl Source {
    /// Adds a dataset that is joined to those before on the person.
    fn join(&mut self, joined: Named, join: &Join) -> Result<(), Refusal> {
        let refused = || refuse(ReasonCode::JoinAsked, None, JOIN);
        // INVARIANT: every field is named, as above.
        let Join { relation: _, global, join_operator } = join;
        let constraint = match join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) if !global => constraint,
            _ => return Err(refused()),
        };
        let before: Vec<DatasetId> = self.datasets.iter().map(|named| named.id.clone()).collect();
        let dataset = joined.id.clone();
        self.datasets.push(joined);
        let on = match constraint {
            JoinConstraint::Using(names) => {
                let [name] = names.as_slice() else { return Err(refused()) };
                let name = name_parts(name).map(|parts| parts.join(".")).ok_or_else(refused)?;
                let on = self.datasets.iter().map(|named| ColumnName::new(format!("{}.{name}", named.id)));
                on.collect::<Result<Vec<_>, _>>().map_err(|_| refused())?
            }
            JoinConstraint::On(Expr::Identifier(word)) if folded(word) == "person" => {
                self.on_person = true;
                return Ok(());
            }
            JoinConstraint::On(condition) => {
                let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = bare(condition) else {
                    return Err(refused());
                };
                let side = |expr: &Expr| self.column(expr, "ON")?.ok_or_else(refused);
                let sides = [side(left)?, side(right)?];
                let is_of = |dataset: &DatasetId| sides.iter().any(|side| of_dataset(dataset, side).is_some());
                if !is_of(&dataset) || !before.iter().any(is_of) {
                    return Err(refused());
                }
                sides.to_vec()
            }
            JoinConstraint::Natural | JoinConstraint::None => return Err(refused()),
        };
        self.on.extend(on);
        Ok(())
    }

    /// The datasets in the order of their ids: the first, and those that are joined to it.
    fn joined(&self) -> Option<(DatasetId, Vec<crate::Join>)> {
        let mut ids = self.datasets.iter().map(|named| named.id.clone());
        let first = ids.next()?;
        // Everything that is said to be equal is a person's key or the question is refused: whose it is does not
        // matter.
        let joins = ids.map(|dataset| crate::Join { dataset, on: self.on.clone() });
        Some((first, joins.collect()))
    }

    /// The heading of a column that is grouped by.
    pub(super) fn heading(&self, column: &ColumnName) -> String {
        if self.is_join() { short(column).to_owned() } else { column.to_string() }
    }

    fn is_join(&self) -> bool {
        self.datasets.len() > 1
    }

    /// The column that an expression is, or `None` if it is something else.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` if it is a name that no column can have, or in a join one that no dataset is named before.
    pub(super) fn column(&self, expr: &Expr, clause: &str) -> Result<Option<ColumnName>, Refusal> {
        let (name, of): (&Ident, Option<&DatasetId>) = match bare(expr) {
            Expr::Identifier(ident) => (ident, None),
            Expr::CompoundIdentifier(parts) => match parts.split_last() {
                Some((last, qualifier)) => {
                    let qualifier = qualifier.iter().map(folded).collect::<Vec<_>>().join(".");
                    let mut named = self.datasets.iter().filter(|named| named.qualifiers.contains(&qualifier));
                    let (Some(named), None) = (named.next(), named.next()) else {
                        let what = format!("a column in {clause} is qualified by a name that is not a dataset's");
                        return Err(refuse(ReasonCode::UnknownColumn, place(expr), &what));
                    };
                    (last, Some(&named.id))
                }
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let text = match of {
            Some(dataset) if self.is_join() => format!("{dataset}.{}", folded(name)),
            _ => folded(name),
        };
        let column = ColumnName::new(text).map_err(|_| {
            let what = format!("a name in {clause} cannot be a column's; texts stand in single quotes");
            refuse(ReasonCode::UnknownColumn, Some(name.span.start), &what)
        })?;
        let told = |named: &Named| of_dataset(&named.id, &column).is_some();
        if self.is_join() && column.as_str() != "person" && !self.datasets.iter().any(told) {
            let what = "with a JOIN, write a column behind its dataset's name or alias";
            return Err(refuse(ReasonCode::UnknownColumn, Some(name.span.start), what));
        }
        Ok(Some(column))
    }
}
