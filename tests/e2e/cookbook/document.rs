//! The cookbook as a program reads it.

use anyhow::{Context, Result, bail, ensure};

/// Under what a question stands.
#[derive(Clone, Default)]
pub struct Under {
    pub agreement: String,
    pub purpose: String,
}

/// Blocks that stand together: what prepares a section, or a recipe.
#[derive(Default)]
pub struct Step {
    /// What stands in bold above it.
    pub title: String,
    pub under: Under,
    /// The question; none of what prepares a section.
    pub sql: Option<String>,
    pub python: Option<String>,
    pub r: Option<String>,
}

/// A question that is refused, and what its row says of it.
pub struct Refused {
    pub under: Under,
    pub sql: String,
    pub reason: String,
    pub instead: Instead,
}

/// What would be answered instead.
pub enum Instead {
    /// A question.
    Sql(String),
    /// Something else, in the words of the refusal.
    Words(String),
}

/// All that a reader can run, in order.
pub struct Document {
    pub steps: Vec<Step>,
    pub refused: Vec<Refused>,
}

impl Document {
    /// Reads the text.
    ///
    /// # Errors
    /// A recipe or a preparation that is not there in every language, by its title.
    pub fn read(text: &str) -> Result<Self> {
        let (mut steps, mut refused) = (Vec::<Step>::new(), Vec::new());
        let (mut under, mut title) = (Under::default(), String::new());
        // Whether the next block belongs to the step before it.
        let mut within = false;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with('#') {
                (title, within) = (line.trim_start_matches('#').trim().to_owned(), false);
            } else if let Some(bold) = line.strip_prefix("**") {
                title = bold.split("**").next().unwrap_or_default().to_owned();
            } else if let Some(named) = line.strip_prefix("Under agreement `") {
                let (agreement, rest) = named.split_once("` for purpose `").context("no purpose")?;
                let purpose = rest.split_once('`').context("the purpose does not end")?.0;
                under = Under { agreement: agreement.to_owned(), purpose: purpose.to_owned() };
            } else if let Some(row) = line.strip_prefix("| `SELECT") {
                refused.push(Refused::read(&format!("`SELECT{row}"), &under)?);
            } else if let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) {
                ensure!(
                    language != "sh" || steps.is_empty(),
                    "docs/COOKBOOK.md, {title}: no test runs a block of sh. Call the command in Python and in R"
                );
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let step = || Step { title: title.clone(), under: under.clone(), ..Step::default() };
                if language == "sql" || (language == "python" && !within) {
                    steps.push(step());
                    within = true;
                }
                let Some(step) = steps.last_mut().filter(|_| within) else { continue };
                let place = match language {
                    "sql" => &mut step.sql,
                    "python" => &mut step.python,
                    "r" => &mut step.r,
                    _ => continue,
                };
                let before = place.replace(block.join("\n") + "\n");
                ensure!(before.is_none(), "{}: two blocks of {language} under one question", step.title);
            }
        }
        for step in &steps {
            for (language, block) in [("python", &step.python), ("r", &step.r)] {
                let Step { title, .. } = step;
                ensure!(
                    block.is_some(),
                    "docs/COOKBOOK.md, {title}: there is no {language}. Put a block of it below the SQL that does \
                     something with `answer` and whose last line shows figures, the same in Python and R"
                );
            }
        }
        Ok(Self { steps, refused })
    }
}

impl Refused {
    /// Reads `` `SQL` | [`REASON`](…) | `SQL` or words (…) | ``.
    fn read(row: &str, under: &Under) -> Result<Self> {
        let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
        let [sql, reason, instead] = cells.as_slice() else { bail!("not three cells: {row}") };
        let code = |text: &str| text.split('`').nth(1).map(str::to_owned).with_context(|| format!("no code: {text}"));
        Ok(Self {
            under: under.clone(),
            sql: code(sql)?,
            reason: code(reason)?,
            instead: match instead.strip_prefix('`') {
                Some(_) => Instead::Sql(code(instead)?),
                None => Instead::Words(instead.split(" (").next().unwrap_or_default().to_owned()),
            },
        })
    }
}

#[test]
fn a_recipe_without_python_or_r_is_named() {
    let sql = "```sql\nSELECT 1\n```\n";
    let python = "```python\nanswer\n```\n";
    let r = "```r\nanswer\n```\n";
    let wrong = |text: String| Document::read(&text).map(drop).unwrap_err().to_string();
    let both = format!("**One**\n\n{sql}{python}\n{r}");
    let document = Document::read(&both).unwrap();
    assert_eq!(document.steps.len(), 1);
    assert_eq!(document.steps[0].r.as_deref(), Some("answer\n"));
    assert!(wrong(format!("{both}\n**Two**: new\n\n{sql}{r}")).contains("Two: there is no python"));
    assert!(wrong(format!("**One**\n\n{sql}\n**Two**\n\n{sql}{python}{r}")).contains("One: there is no python"));
    assert!(wrong(format!("{both}{r}")).contains("One: two blocks of r"));
    assert!(wrong(format!("# Head\n\n{python}")).contains("Head: there is no r"));
    let shell = "```sh\nfirebreak loss\n```\n";
    assert!(Document::read(&format!("# How to ask\n\n{shell}{both}")).is_ok());
    assert!(wrong(format!("{both}\n**Two**\n\n{shell}")).contains("Two: no test runs a block of sh"));
}
