//! The datasets that an adapter serves: bindings, and the bounded view of each cut, made once.

use crate::bounded::{Part, RankingKey, together, view};
use crate::engine::{Engine, EngineError};
use crate::source::{self, Rows, SourceError};
use crate::views::{self, Views};
use firebreak_domain::{Binding, Column, ColumnName, Contract, CutId, DatasetId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// A dataset that cannot be asked. For the agency's own log.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No binding.
    #[error("no binding serves {0}; list one under `bindings`")]
    NotBound(DatasetId),
    /// The file.
    #[error("{0}: {1}")]
    Source(DatasetId, #[source] SourceError),
    /// The folder of views.
    #[error("the folder of bounded views cannot be made anew in the state folder; see to its disk")]
    Folder(#[source] std::io::Error),
    /// Datasets that are joined.
    #[error("datasets that are joined: {0}")]
    Join(#[source] SourceError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A view that could not be made when it was tried last.
    #[error(
        "{0}: a cut could not be read when it was tried last, which this log has; it is tried again from time to time"
    )]
    Unread(DatasetId),
    /// The task that made the view ended early.
    #[error("the bounded view could not be made")]
    View,
}

/// Counts that rows were asked, by whatever way: an engine's execution, or identifiers for a match.
pub(crate) fn count_execution() {
    metrics::counter!("firebreak_engine_executions_total").increment(1);
}

/// A view, made or not.
#[derive(Default)]
pub(crate) struct View {
    engine: OnceCell<Engine>,
    /// Whether it could not be made when it was tried last.
    failed: AtomicBool,
}

/// What joined datasets' contracts and cut are, and the view of them.
type Join = ((String, CutId), Arc<View>);

/// The view of a cut.
struct Kept {
    /// What of the contract shapes it.
    shape: String,
    since: Instant,
    /// Whether it was made before there were callers.
    ready_at_open: bool,
    view: Arc<View>,
}

/// The agency's files behind their contracts.
pub struct Datasets {
    folder: PathBuf,
    bindings: HashMap<DatasetId, Binding>,
    secret: [u8; 32],
    threads: usize,
    files: Views,
    // One view per dataset and cut, of what shapes it in the contract as signed: a bundle that changes that makes a new
    // view in its place.
    views: Mutex<HashMap<(DatasetId, CutId), Kept>>,
    // Whether there are callers.
    opened: Once,
    // Of joins the latest alone: there are many that can be asked, and each may be as large as its datasets together.
    latest_join: Mutex<Option<Join>>,
}

impl Datasets {
    /// The files in `folder` behind `bindings`. `secret` ranks rows: 32 random bytes that never leave the agency.
    /// Views too large for memory go to `files`.
    #[must_use]
    pub fn new(folder: PathBuf, bindings: Vec<Binding>, secret: [u8; 32], threads: usize, files: Views) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let bindings = bindings.into_iter().map(|b| (b.dataset.clone(), b)).collect();
        let (views, opened, latest_join) = (Mutex::default(), Once::new(), Mutex::default());
        Self { folder, bindings, secret, threads, files, views, opened, latest_join }
    }

    /// The datasets bound.
    pub fn bound(&self) -> impl Iterator<Item = &DatasetId> {
        self.bindings.keys()
    }

    /// The binding of a dataset.
    ///
    /// # Errors
    /// [`DatasetError::NotBound`].
    pub fn binding(&self, dataset: &DatasetId) -> Result<&Binding, DatasetError> {
        self.bindings.get(dataset).ok_or_else(|| DatasetError::NotBound(dataset.clone()))
    }

    /// Whether the bindings serve a cut of these datasets, joined where they are several. It reads no file.
    ///
    /// # Errors
    /// [`DatasetError`], for the first that cannot be served.
    pub fn check(&self, datasets: &[&DatasetId], cut: &CutId) -> Result<(), DatasetError> {
        for dataset in datasets {
            let binding = self.binding(dataset)?;
            if binding.file_of(cut).is_none() {
                return Err(DatasetError::Source((*dataset).clone(), SourceError::NoFile(cut.clone())));
            }
            if datasets.len() > 1 && binding.row_is_person {
                return Err(DatasetError::Join(SourceError::NoKeyToJoin));
            }
        }
        Ok(())
    }

    /// The engine over a cut's bounded view, or over that of several datasets joined on the person, made at the first
    /// call.
    ///
    /// # Errors
    /// [`DatasetError`]. Of a join the next call tries again; of a single view [`Self::read`] does.
    pub async fn engine(&self, contracts: &[Contract], cut: &CutId) -> Result<Engine, DatasetError> {
        let view = if let [alone] = contracts {
            let view = self.place(alone, cut);
            // PRIVACY: how long it takes to find a file wanting depends on what it holds, so no caller waits for that.
            if view.failed.load(Ordering::Relaxed) {
                return Err(DatasetError::Unread(alone.id.clone()));
            }
            view
        } else {
            let key = (shape(contracts), cut.clone());
            let mut latest = self.latest_join.lock().unwrap_or_else(PoisonError::into_inner);
            match latest.as_ref().filter(|(known, _)| *known == key) {
                Some((_, view)) => Arc::clone(view),
                None => Arc::clone(&latest.insert((key, Arc::default())).1),
            }
        };
        self.make(&view, contracts, cut).await
    }

    /// Makes a cut's view unless it is made, whether or not that could be done before.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub(crate) async fn read(&self, contract: &Contract, cut: &CutId) -> Result<(), DatasetError> {
        self.make(&self.place(contract, cut), std::slice::from_ref(contract), cut).await.map(drop)
    }

    async fn make(&self, view: &View, contracts: &[Contract], cut: &CutId) -> Result<Engine, DatasetError> {
        let make = async || {
            let made = if self.files.in_memory(contracts) {
                self.engine_in_memory(contracts, cut).await
            } else {
                self.engine_over_file(contracts, cut).await
            };
            view.failed.store(made.is_err(), Ordering::Relaxed);
            made
        };
        Ok(view.engine.get_or_try_init(make).await?.clone())
    }

    /// The place of a cut's view. It reads no file.
    pub(crate) fn place(&self, contract: &Contract, cut: &CutId) -> Arc<View> {
        let shape = shape(std::slice::from_ref(contract));
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let new = |shape| Kept { shape, since: Instant::now(), ready_at_open: false, view: Arc::default() };
        let kept = views.entry((contract.id.clone(), cut.clone())).or_insert_with(|| new(shape.clone()));
        if kept.shape != shape {
            // Whoever still asks the view before keeps it for so long.
            *kept = new(shape);
        }
        Arc::clone(&kept.view)
    }

    /// Says, the first time, that there are callers from now on.
    pub(crate) fn open_to_callers(&self) {
        self.opened.call_once(|| {
            let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
            for kept in views.values_mut() {
                kept.ready_at_open = kept.view.engine.initialized();
            }
        });
    }

    /// Whether a question over a cut's view is to be given the time that reading takes: where the view had its place so
    /// short a time before, or is neither made nor was found wanting. Not where it was made before there were callers.
    // PRIVACY: when a view is ready depends on the size of its file, and on who asked for it. So what is ready sooner is
    // not answered sooner.
    pub(crate) fn is_new(&self, contract: &Contract, cut: &CutId, within: Duration) -> bool {
        let shape = shape(std::slice::from_ref(contract));
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = views.get(&(contract.id.clone(), cut.clone())).filter(|kept| kept.shape == shape) else {
            return true;
        };
        let tried = kept.view.engine.initialized() || kept.view.failed.load(Ordering::Relaxed);
        !kept.ready_at_open && (!tried || kept.since.elapsed() < within)
    }

    /// The engine over a view that is held in memory.
    async fn engine_in_memory(&self, contracts: &[Contract], cut: &CutId) -> Result<Engine, DatasetError> {
        let mut parts = Vec::with_capacity(contracts.len());
        for contract in contracts {
            let binding = self.binding(&contract.id)?;
            let failed = |e| DatasetError::Source(contract.id.clone(), e);
            let rows = source::read(contract, binding, &self.folder, cut).await.map_err(failed)?;
            parts.push((contract.clone(), rows, RankingKey::of(&self.secret, &contract.unit_space.id)));
        }
        let threads = self.threads;
        let made = tokio::task::spawn_blocking(move || {
            let mut views = Vec::with_capacity(parts.len());
            for (contract, rows, key) in parts {
                let failed = |e| DatasetError::Source(contract.id.clone(), e);
                let view = view(&contract, &rows, &key).map_err(failed)?;
                views.push(Part { dataset: contract.id, view, keys: rows.person_keys });
            }
            Ok(Engine::over(&together(views).map_err(DatasetError::Join)?, threads)?)
        });
        made.await.map_err(|_| DatasetError::View)?
    }

    /// Has a cut asked by that engine from here on, in place of one over the agency's own file: for a view that is kept
    /// elsewhere. It must be bounded as the contract says. A contract that changes takes a view of its own again.
    pub fn serve(&self, contract: &Contract, cut: &CutId, engine: Engine) {
        let shape = shape(std::slice::from_ref(contract));
        let view = View { engine: OnceCell::new_with(Some(engine)), failed: AtomicBool::new(false) };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Kept { shape, since: Instant::now(), ready_at_open: true, view: Arc::new(view) };
        views.insert((contract.id.clone(), cut.clone()), kept);
    }

    /// The engine over a view that is kept as a file.
    async fn engine_over_file(&self, contracts: &[Contract], cut: &CutId) -> Result<Engine, DatasetError> {
        let of = |contract| Ok(views::Source { contract, binding: self.binding(&contract.id)? });
        let sources = contracts.iter().map(of).collect::<Result<Vec<_>, DatasetError>>()?;
        let first = contracts.first().ok_or(DatasetError::View)?;
        // Datasets that are joined are of one unit space.
        let key = RankingKey::of(&self.secret, &first.unit_space.id);
        let failed = |error| match contracts {
            [alone] => DatasetError::Source(alone.id.clone(), error),
            _ => DatasetError::Join(error),
        };
        let file = views::make(&self.files, &sources, &self.folder, cut, key).await.map_err(failed)?;
        Ok(Engine::over_file(file, self.threads).await?)
    }

    /// The key by which a dataset's rows are ranked.
    pub(crate) fn ranking_key(&self, contract: &Contract) -> RankingKey {
        RankingKey::of(&self.secret, &contract.unit_space.id)
    }

    /// The rows of a cut, batch by batch, with the columns of a match key as the register writes them; counted like an
    /// engine's execution.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub async fn rows_to_match<'a>(
        &'a self,
        contract: &'a Contract,
        cut: &CutId,
        key: &[ColumnName],
    ) -> Result<RowsToMatch<'a>, DatasetError> {
        let binding = self.binding(&contract.id)?;
        count_execution();
        let reader = source::Reader::open(contract, binding, &self.folder, cut, key).await;
        let dataset = &contract.id;
        Ok(RowsToMatch { reader: reader.map_err(|e| DatasetError::Source(dataset.clone(), e))?, dataset })
    }
}

/// The rows of a cut that take part in a match, read batch by batch.
pub struct RowsToMatch<'a> {
    reader: source::Reader<'a>,
    dataset: &'a DatasetId,
}

impl RowsToMatch<'_> {
    /// The next batch, whose persons have numbers of their own; `None` after the last.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub async fn next(&mut self) -> Result<Option<Rows>, DatasetError> {
        let (mut rows, mut numbers) = (self.reader.nothing(), HashMap::new());
        let read = self.reader.append(&mut rows, &mut numbers).await;
        let read = read.map_err(|e| DatasetError::Source(self.dataset.clone(), e))?;
        Ok(read.then_some(rows))
    }
}

/// All of the contracts that shapes a view: titles and labels do not.
fn shape(contracts: &[Contract]) -> String {
    let column = |column: &Column| format!("{:?}", (&column.name, column.role, &column.domain, &column.missing));
    let of = |contract: &Contract| {
        let columns: Vec<String> = contract.columns.iter().map(column).collect();
        format!("{:?}", (&contract.id, &contract.unit_space, contract.contribution, columns))
    };
    contracts.iter().map(of).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::PERSON;
    use datafusion::common::Column as FrameColumn;
    use datafusion::functions_aggregate::expr_fn::{count, count_distinct, sum};
    use datafusion::prelude::{Expr, lit};

    const CONTRACT: &str = r#"
format = 1
id = "health.visits"
title = "Visits"
description = "Visits to clinics"
controller = "Health"
agency = "health"
population = "patients"
unit_space = { id = "health.persons", register_size = 100, rho_per_year = 1000000000, rho_for_life = 4000000000 }
contribution = { rows_per_person = 4 }
cuts = ["2024-Q3", "2024-Q4"]

[[column]]
name = "person"
label = "person"
definition = "the agency's own key"
role = "privacy_unit"
domain = { type = "text" }

[[column]]
name = "cost"
label = "cost"
definition = "cost of the visit"
role = "measure"
domain = { type = "integer", min = 0, max = 100 }
"#;
    const BINDING: &str = r#"
format = 1
dataset = "health.visits"
cut = [{ id = "2024-Q3", file = "visits.csv" }, { id = "2024-Q4", file = "visits.csv" }]
"#;

    /// PRIVACY: the sensitivity that a question declares is the new contract's; an older view holds more of a person.
    #[tokio::test]
    async fn a_contract_that_allows_fewer_rows_makes_a_view_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("visits.csv"), "person,cost\na,1\na,2\nb,3\n").unwrap();
        let files = Views::open(&folder.path().join("views")).unwrap();
        let datasets = Datasets::new(folder.path().to_owned(), vec![toml(BINDING)], [7; 32], 1, files);
        let contract: Contract = toml(CONTRACT);
        let mut tighter = contract.clone();
        tighter.contribution.rows_per_person = 1;
        let views = async |contract: &Contract, cut: usize| {
            datasets.engine(std::slice::from_ref(contract), &contract.cuts[cut]).await.unwrap();
            let views = datasets.views.lock().unwrap();
            let kept = &views[&(contract.id.clone(), contract.cuts[cut].clone())];
            (Arc::clone(&kept.view), views.len())
        };
        let (first, _) = views(&contract, 1).await;
        let (again, _) = views(&contract, 1).await;
        assert!(Arc::ptr_eq(&first, &again), "made once");
        let (other, kept) = views(&tighter, 1).await;
        assert!(!Arc::ptr_eq(&first, &other) && kept == 1, "another bound, in the place of the one before");
        assert_eq!(views(&contract, 0).await.1, 2, "another cut");
    }

    /// PRIVACY: were it asked sooner when it is ready sooner, the size of its file could be told.
    #[tokio::test(start_paused = true)]
    async fn a_view_is_new_until_a_time_that_no_file_decides_and_until_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("visits.csv");
        std::fs::write(&file, "person,cost\na,1\n").unwrap();
        let files = Views::open(&folder.path().join("views")).unwrap();
        let datasets = Datasets::new(folder.path().to_owned(), vec![toml(BINDING)], [7; 32], 1, files);
        let contract: Contract = toml(CONTRACT);
        let (older, latest) = (&contract.cuts[0], &contract.cuts[1]);
        let within = Duration::from_secs(10);
        let is_new = |contract: &Contract, cut: &CutId| datasets.is_new(contract, cut, within);
        let make = async |contract: &Contract, cut| datasets.engine(std::slice::from_ref(contract), cut).await;

        // Made before there were callers, it is ready for all of them. To have a place is not enough.
        datasets.place(&contract, older);
        make(&contract, latest).await.unwrap();
        datasets.open_to_callers();
        assert!(!is_new(&contract, latest) && is_new(&contract, older));
        // Made among callers, it is given the time of reading whenever it is ready.
        make(&contract, older).await.unwrap();
        assert!(is_new(&contract, older));
        tokio::time::advance(within).await;
        assert!(!is_new(&contract, older));
        // Under a contract that changed, again; so is what cannot be read. Nothing that is said later changes it.
        let mut tighter = contract.clone();
        tighter.contribution.rows_per_person = 1;
        assert!(is_new(&tighter, latest));
        std::fs::remove_file(&file).unwrap();
        assert!(make(&tighter, latest).await.is_err());
        datasets.open_to_callers();
        assert!(is_new(&tighter, latest));
        tokio::time::advance(within).await;
        assert!(!is_new(&tighter, latest));
        // Nobody who asks has it read again.
        std::fs::write(&file, "person,cost\na,1\n").unwrap();
        assert!(matches!(make(&tighter, latest).await, Err(DatasetError::Unread(_))));
        datasets.read(&tighter, latest).await.unwrap();
        make(&tighter, latest).await.unwrap();
    }

    /// The same question over the same file, whichever way the view is kept.
    #[tokio::test]
    async fn a_view_in_a_file_answers_as_one_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..3_000).map(|row| format!("p{},{}\n", row % 300, row % 101)).collect();
        std::fs::write(folder.path().join("visits.csv"), format!("person,cost\n{rows}")).unwrap();
        let contract: Contract = toml(CONTRACT);
        let mut answers = Vec::new();
        for bytes in [u64::MAX, 0] {
            let files = Views::open(&folder.path().join("views")).unwrap().with_most_in_memory(bytes);
            let kept = || std::fs::read_dir(folder.path().join("views")).unwrap().count();
            let datasets = Datasets::new(folder.path().to_owned(), vec![toml(BINDING)], [7; 32], 2, files);
            let engine = datasets.engine(std::slice::from_ref(&contract), &contract.cuts[1]).await.unwrap();
            assert_eq!(kept(), usize::from(bytes == 0));
            let column = |name: &str| Expr::Column(FrameColumn::new_unqualified(name));
            let figures = vec![count(lit(1)), sum(column("cost")), count_distinct(column(PERSON))];
            let figures = engine.frame().clone().aggregate(vec![], figures).unwrap().collect().await.unwrap();
            answers.push(figures[0].columns().to_vec());
        }
        assert_eq!(answers[0], answers[1]);
    }

    /// A join whose parts are dealt out to files by person answers as one made at once.
    #[tokio::test]
    async fn a_join_in_a_file_answers_as_one_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let rows = |step: usize| -> String {
            (0..2_000).map(|row| format!("p{},{}\n", row * step % 397, row % 101)).collect()
        };
        std::fs::write(folder.path().join("visits.csv"), format!("person,cost\n{}", rows(1))).unwrap();
        std::fs::write(folder.path().join("stays.csv"), format!("person,cost\n{}", rows(3))).unwrap();
        let text = |dataset: &str| {
            // So many that there are several parts.
            CONTRACT.replace("health.visits", dataset).replace("register_size = 100", "register_size = 300000")
        };
        let contracts: Vec<Contract> = ["health.visits", "health.stays"].map(|dataset| toml(&text(dataset))).into();
        let stays = BINDING.replace("health.visits", "health.stays").replace("visits.csv", "stays.csv");
        let mut answers = Vec::new();
        for bytes in [u64::MAX, 0] {
            let files = Views::open(&folder.path().join("views")).unwrap().with_most_in_memory(bytes);
            let kept = || std::fs::read_dir(folder.path().join("views")).unwrap().count();
            let bindings = vec![toml(BINDING), toml(&stays)];
            let datasets = Datasets::new(folder.path().to_owned(), bindings, [7; 32], 2, files);
            let engine = datasets.engine(&contracts, &contracts[0].cuts[1]).await.unwrap();
            assert_eq!(kept(), usize::from(bytes == 0));
            let column = |name: &str| Expr::Column(FrameColumn::new_unqualified(name));
            let figures = vec![
                count(lit(1)),
                sum(column("health.visits.cost")),
                sum(column("health.visits.cost") * column("health.stays.cost")),
                count_distinct(column(PERSON)),
            ];
            let figures = engine.frame().clone().aggregate(vec![], figures).unwrap().collect().await.unwrap();
            answers.push(figures[0].columns().to_vec());
        }
        assert_eq!(answers[0], answers[1]);
    }

    fn toml<T: serde::de::DeserializeOwned>(text: &str) -> T {
        toml::from_str(text).unwrap()
    }
}
