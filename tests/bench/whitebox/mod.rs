//! Neighbours through the adapter's own reading, bounding and aggregating, and how far apart they come out.

mod contracts;
mod files;
mod found;
mod meaning;
mod persons;
mod questions;

use crate::bounded::{Part, RankingKey, joined, view};
use crate::engine::Engine;
use crate::opened::Vectors;
use agency_adapter::source;
use agency_adapter::views::Views;
use anyhow::{Context, Result, anyhow, ensure};
use contracts::{Ground, STRATUM};
use files::Tables;
use firebreak_domain::{Contract, CutId};
use firebreak_query::{AggregateQuery, Category, CheckedQuery, Group, GroupingSet, PrimitiveKind};
pub use found::{Change, Found, Kind};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// A view with so many rows, or a multiple, is kept in a file.
const KEPT_IN_A_FILE: usize = 16;
/// Tables that share a file.
const STRATA: usize = 48;
/// In one plan of so many, a table has its file for itself.
const ALONE: u64 = 2;
/// In one plan of so many, two datasets are joined.
const JOINED: u64 = 3;
/// Neighbours of one base, and questions asked of each.
const NEIGHBOURS: usize = 3;
const QUESTIONS: usize = 3;

impl Vectors {
    /// The vectors over more codes; what is not there counts 0.
    fn over(&self, codes: &BTreeSet<i64>) -> Vec<Vec<i64>> {
        let at = |vector: &Vec<i64>, code: &i64| {
            self.codes.binary_search(code).ok().and_then(|place| vector.get(place)).copied().unwrap_or(0)
        };
        self.values.iter().map(|vector| codes.iter().map(|code| at(vector, code)).collect()).collect()
    }
}

/// A fault planted to see that the audit finds it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plant {
    /// Rows of a person that each view keeps beyond its contract's bound.
    pub rows: u32,
    /// What is taken off each squared sensitivity.
    pub sensitivity: u128,
}

/// An audit: a seed gives the same plans whatever the number of threads.
#[derive(Debug, Clone, Copy)]
pub struct Audit {
    pub seed: u64,
    pub plant: Plant,
}

impl Audit {
    /// Runs plan after plan, on all processors, until so many pairs were compared.
    ///
    /// # Errors
    /// A question that its contract does not fit, a view that cannot be made, a failing engine.
    pub fn until(self, pairs: u64) -> Result<Found> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, compared) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let folder = tempfile::tempdir()?;
            let mut found = Found::default();
            while compared.load(Ordering::Relaxed) < pairs {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let before = found.pairs;
                runtime
                    .block_on(self.plan(number, &folder, &mut found))
                    .with_context(|| format!("seed {}, plan {number}", self.seed))?;
                compared.fetch_add(found.pairs - before, Ordering::Relaxed);
            }
            Ok::<_, anyhow::Error>(found)
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running.into_iter().try_fold(Found::default(), |sum, thread| {
                Ok(sum.and(thread.join().map_err(|_| anyhow!("a thread of the audit ended early"))??))
            })
        })
    }

    /// One contract, or two that are joined, with files and questions.
    async fn plan(self, number: u64, folder: &TempDir, found: &mut Found) -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number);
        let rng = &mut rng;
        let strata = if number.is_multiple_of(ALONE) { 1 } else { STRATA };
        let ground = Ground::random(rng, strata, number.is_multiple_of(JOINED))?;
        let questions = (0..QUESTIONS).map(|_| Question::random(rng, &ground)).collect::<Result<Vec<_>>>()?;
        let place = format!("seed {}, plan {number}", self.seed);
        let base = ground.tables(rng, strata);
        let before = self.vectors(rng, &ground, &base, &questions, folder.path()).await?;
        for _ in 0..NEIGHBOURS {
            let (tables, changes) = ground.neighbour(rng, &base);
            let after = self.vectors(rng, &ground, &tables, &questions, folder.path()).await?;
            // Nothing that a person's rows hold may decide whether there is an answer at all.
            let (Some(before), Some(after)) = (&before, &after) else {
                let forms = ground.datasets.iter().map(|dataset| if dataset.csv { "CSV" } else { "Parquet" });
                found.unreadable.push(format!("{place}: {}", forms.collect::<Vec<_>>().join(" and ")));
                continue;
            };
            for (question, (before, after)) in questions.iter().zip(before.iter().zip(after)) {
                question.compare(before, after, &changes, self.plant, found, &place)?;
            }
        }
        found.plans += 1;
        Ok(())
    }

    /// The exact vectors of each question over tables that share a file, as the adapter comes to them; `None` if it
    /// does not read the file.
    async fn vectors(
        self,
        rng: &mut ChaCha8Rng,
        ground: &Ground,
        tables: &Tables,
        questions: &[Question],
        folder: &Path,
    ) -> Result<Option<Vec<Vectors>>> {
        ground.write(rng, tables, folder)?;
        let (key, mut parts) = (RankingKey::new([7; 32]), Vec::with_capacity(ground.datasets.len()));
        for dataset in &ground.datasets {
            let mut contract: Contract = dataset.contract.clone();
            let Ok(rows) = source::read(&contract, &dataset.binding, folder, &CutId::new("2024")?).await else {
                return Ok(None);
            };
            contract.contribution.rows_per_person += self.plant.rows;
            let view = view(&contract, &rows, &key)?;
            parts.push(Part { dataset: contract.id, view, keys: rows.person_keys });
        }
        let view = match parts.as_slice() {
            [alone] => alone.view.clone(),
            parts => joined(parts)?,
        };
        let threads = rng.random_range(1..=3);
        // Some as those of large cuts are kept.
        let engine = if view.num_rows().is_multiple_of(KEPT_IN_A_FILE) {
            let mut writer = Views::open(&folder.join("views"))?.write(view.schema())?;
            writer.append(&view)?;
            Engine::over_file(writer.finish()?, threads).await?
        } else {
            Engine::over(&view, threads)?
        };
        let mut vectors = Vec::with_capacity(questions.len());
        for question in questions {
            let found = engine.execute(&question.asked).await?.open();
            ensure!(found == meaning::vectors(&question.asked, &view)?, "the engine computes something else");
            vectors.push(found);
        }
        Ok(Some(vectors))
    }
}

/// A question as it is asked of a whole file, and its declared sensitivities when one table is asked alone.
struct Question {
    asked: CheckedQuery,
    joined: bool,
    declared: Vec<u128>,
    declared_l1: Vec<u128>,
}

impl Question {
    fn random(rng: &mut ChaCha8Rng, ground: &Ground) -> Result<Self> {
        let open =
            if ground.strata() == 1 && rng.random_bool(0.4) { ground.question_by_open_codes(rng)? } else { None };
        let question = open.map_or_else(|| ground.question(rng), Ok)?;
        let checked =
            |question: &AggregateQuery| ground.check(question).map_err(|refusal| anyhow!("refused: {refusal}"));
        let alone = checked(&question)?;
        let mut split = question;
        if ground.strata() > 1 {
            let stratum = split.group_by.len();
            let category = Category::Column(ground.of_the_first(STRATUM)?);
            split.group_by.push(Group { name: STRATUM.to_owned(), category });
            split.grouping_sets.iter_mut().for_each(|set| set.push(stratum));
        }
        let asked = checked(&split)?;
        // Splitting by stratum adds cells and nothing else. Whoever is in one stratum alone is bounded as if it were
        // asked alone, which is the narrower bound.
        ensure!(asked.primitives() == alone.primitives(), "a group more changes what is measured");
        let declared = alone.squared_sensitivities().to_vec();
        ensure!(asked.squared_sensitivities().iter().zip(&declared).all(|(a, b)| a >= b), "a group more bounds less");
        let declared_l1 = alone.l1_sensitivities().to_vec();
        Ok(Self { asked, joined: ground.is_joined(), declared, declared_l1 })
    }

    /// The stratum of each cell of a grouping set: of the only table, where there are none.
    fn strata(&self, set: &GroupingSet) -> Vec<usize> {
        let place = self.asked.groups().iter().position(|group| group.name == STRATUM);
        (0..set.cells()).map(|cell| place.and_then(|place| set.code(cell, place)).unwrap_or(0)).collect()
    }

    /// Whether that holds on which the threshold rests: a person is in at most as many groups as they have rows, and
    /// counts once in each. So they are alone in a group that is not there without them.
    fn codes_hold(&self, before: &Vectors, after: &Vectors, changes: &[Change]) -> Result<bool> {
        let (_, persons) = self.asked.selection().context("groups are not selected")?;
        let of = |vectors: &Vectors| -> Result<BTreeMap<i64, i64>> {
            let persons = vectors.values.get(persons).context("no persons")?;
            Ok(vectors.codes.iter().copied().zip(persons.iter().copied()).collect())
        };
        let (before, after) = (of(before)?, of(after)?);
        ensure!(before.values().chain(after.values()).all(|persons| *persons > 0), "a group of nobody");
        let persons = |of: &BTreeMap<i64, i64>, code: &i64| of.get(code).copied().unwrap_or(0);
        let codes: BTreeSet<i64> = before.keys().chain(after.keys()).copied().collect();
        let moved: Vec<u64> = codes.iter().map(|code| persons(&before, code).abs_diff(persons(&after, code))).collect();
        let persons_changed = if changes.contains(&Change::Replaced) { 2 } else { 1 };
        let most = self.asked.rows_per_person() as usize * persons_changed;
        Ok(moved.iter().all(|moved| *moved <= 1) && moved.iter().filter(|moved| **moved > 0).count() <= most)
    }

    fn compare(
        &self,
        before: &Vectors,
        after: &Vectors,
        changes: &[Change],
        plant: Plant,
        found: &mut Found,
        place: &str,
    ) -> Result<()> {
        let codes: BTreeSet<i64> = before.codes.iter().chain(&after.codes).copied().collect();
        let open = self.asked.selection().is_some();
        let holds = !open || self.codes_hold(before, after, changes)?;
        let (before, after) = if open {
            (before.over(&codes), after.over(&codes))
        } else {
            (before.values.clone(), after.values.clone())
        };
        ensure!(before.len() == self.declared.len() && after.len() == before.len(), "{place}: another shape");
        let mut violating = vec![!holds; changes.len()];
        if !holds {
            found.report(Kind::Persons, || {
                format!("{place}: a person is in more groups than they have rows, or twice in one")
            });
        }
        for ((((primitive, set), (declared, declared_l1)), before), after) in
            self.asked.vectors().zip(self.declared.iter().zip(&self.declared_l1)).zip(&before).zip(&after)
        {
            let strata = if open { vec![0; codes.len()] } else { self.strata(set) };
            let mut squares = vec![0_u128; changes.len()];
            let mut sums = vec![0_u128; changes.len()];
            let per_cell = primitive.kind().numbers_per_cell();
            for (stratum, (before, after)) in strata.iter().zip(before.chunks(per_cell).zip(after.chunks(per_cell))) {
                let moved = u128::from(movement(primitive.kind(), before, after));
                let square = squares.get_mut(*stratum).context("a cell of no stratum")?;
                *square = square.saturating_add(moved.saturating_mul(moved));
                let sum = sums.get_mut(*stratum).context("a cell of no stratum")?;
                *sum = sum.saturating_add(moved);
            }
            let kind = Kind::of(primitive.kind());
            for (((square, sum), change), violating) in squares.into_iter().zip(sums).zip(changes).zip(&mut violating) {
                let bound = declared_l1.saturating_mul(if *change == Change::Replaced { 2 } else { 1 });
                if sum > bound && *change != Change::Nothing {
                    *violating = true;
                    found.report(kind, || {
                        format!("{place}: {}, {change:?}: moved by {sum} in all, declared {declared_l1}", kind.name())
                    });
                }
                let declared = declared.saturating_sub(plant.sensitivity);
                if !found.compare((kind, self.joined), *change, square, declared) {
                    *violating = true;
                    found.report(kind, || {
                        format!(
                            "{place}: {}, {} datasets, {} rows a person, {} cells in {} tables, {change:?}: moved by \
                             {square} squared, declared {declared}",
                            kind.name(),
                            self.asked.reads().len(),
                            self.asked.rows_per_person(),
                            self.asked.cells(),
                            changes.len(),
                        )
                    });
                }
            }
        }
        let pairs = changes.iter().filter(|change| **change != Change::Nothing).count() as u64;
        found.pairs += pairs;
        found.pairs_alone += if changes.len() == 1 { pairs } else { 0 };
        found.pairs_joined += if self.joined { pairs } else { 0 };
        found.violating += violating.into_iter().filter(|v| *v).count() as u64;
        Ok(())
    }
}

/// How far the numbers of one cell moved: of a quantile, the score that moved most.
fn movement(kind: &PrimitiveKind, before: &[i64], after: &[i64]) -> u64 {
    let largest = |before: &[i64], after: &[i64]| before.iter().zip(after).map(|(b, a)| b.abs_diff(*a)).max();
    match kind {
        PrimitiveKind::Quantile { candidates, .. } => largest(&candidates.scores(before), &candidates.scores(after)),
        _ => largest(before, after),
    }
    .unwrap_or(0)
}

impl Ground {
    fn strata(&self) -> usize {
        let stratum = self.datasets.first().and_then(|dataset| dataset.fields.first());
        stratum.map_or(1, |stratum| stratum.column.domain.codes().len())
    }

    fn tables(&self, rng: &mut ChaCha8Rng, strata: usize) -> Tables {
        let mut tables = Vec::with_capacity(strata);
        for stratum in 0..strata {
            let mut persons = Vec::new();
            let most = rng.random_range(4..=30) * self.datasets.len();
            let mut rows = 0;
            for number in 0..rng.random_range(0..=6) {
                let person = self.person(rng, stratum, (stratum * 100 + number) as i64);
                rows += person.rows.iter().map(Vec::len).sum::<usize>();
                if rows <= most {
                    persons.push(person);
                }
            }
            tables.push(persons);
        }
        tables
    }

    /// One person of each table added, removed or replaced, in every dataset at once, but for a few tables in which
    /// nothing changes.
    fn neighbour(&self, rng: &mut ChaCha8Rng, base: &Tables) -> (Tables, Vec<Change>) {
        let mut tables = base.clone();
        let mut changes = Vec::with_capacity(tables.len());
        for (stratum, persons) in tables.iter_mut().enumerate() {
            let change = [Change::Added, Change::Removed, Change::Replaced, Change::Replaced].choose(rng).copied();
            let nothing = base.len() > 1 && rng.random_bool(0.05);
            let change = change.filter(|_| !nothing).unwrap_or(Change::Nothing);
            let place = if persons.is_empty() { None } else { Some(rng.random_range(0..persons.len())) };
            let fresh = (stratum * 100 + 50) as i64;
            changes.push(match (change, place) {
                (Change::Nothing, _) => Change::Nothing,
                (Change::Removed, Some(place)) => {
                    persons.remove(place);
                    Change::Removed
                }
                (Change::Replaced, Some(place)) => {
                    // By somebody else, or by the same person with other rows.
                    let gone = persons.remove(place);
                    let key = if rng.random_bool(0.5) { gone.key } else { fresh };
                    persons.push(self.person(rng, stratum, key));
                    Change::Replaced
                }
                _ => {
                    persons.push(self.person(rng, stratum, fresh));
                    Change::Added
                }
            });
        }
        (tables, changes)
    }
}

#[cfg(test)]
mod tests;
