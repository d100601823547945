//! How many tests passed and failed, read from what the test runners print.

use std::fmt;

/// The tests that ran.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, timed out or could not be run.
    pub failed: u64,
    /// Tests that say of themselves that they are not to be run.
    pub skipped: u64,
    /// Names of tests that failed, as far as `cargo test` told them.
    pub names: Vec<String>,
}

impl Outcome {
    /// Takes up one line of a runner: a summary of `cargo nextest`, a closing line of a `cargo test` binary, or the
    /// line of a test that failed there. Other lines change nothing.
    ///
    /// What a failed test printed stands indented in what `cargo nextest` shows of it, its own closing line too: that
    /// one counts for its name alone.
    pub fn read(&mut self, line: &str) {
        let closing = line.strip_prefix("test result: ");
        let line = line.trim();
        if let Some(counts) = closing {
            // ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s
            let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
            self.add(counts.split(';'));
        } else if let Some((_, counts)) = summary(line).and_then(|rest| rest.split_once(" run: ")) {
            // 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 0 skipped
            // What nextest skips is what the caller left out by a filter; tests that leave out themselves are untidy.
            self.add(counts.split(',').filter(|count| !count.ends_with(" skipped")));
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.names.push(name.to_owned());
        }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.names.extend(other.names);
        self
    }

    fn add<'a>(&mut self, counts: impl Iterator<Item = &'a str>) {
        for count in counts {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if what.starts_with("passed") {
                self.passed += number;
            } else if what.starts_with("ignored") {
                self.skipped += number;
            } else if ["failed", "timed out", "exec failed"].iter().any(|bad| what.starts_with(bad)) {
                self.failed += number;
            }
        }
    }
}

/// What follows `Summary [   1.234s]`.
fn summary(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("Summary [")?.split_once(']')?;
    Some(rest.trim())
}

impl fmt::Display for Outcome {
    /// The one line that says it all: `12 passed, 0 failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> String {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|line| outcome.read(line));
        outcome.to_string()
    }

    #[test]
    fn the_closing_lines_of_all_test_binaries_are_added_up() {
        let ok = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let bad = "test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.01s";
        assert_eq!(of(&[ok, "running 3 tests", bad]), "4 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn the_summary_of_nextest_is_read_and_a_test_that_timed_out_has_failed() {
        assert_eq!(of(&["     Summary [   0.1s] 12 tests run: 12 passed, 0 skipped"]), "12 passed, 0 failed");
        let bad = "     Summary [ 61.1s] 12/14 tests run: 8 passed (1 slow), 3 failed, 1 timed out, 2 skipped";
        assert_eq!(of(&[bad]), "8 passed, 4 failed");
        assert_eq!(of(&["     Summary [   0.1s] 1 test run: 0 passed, 1 failed, 0 skipped"]), "0 passed, 1 failed");
        let shown =
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.01s";
        let summary = "     Summary [   0.1s] 2 tests run: 1 passed, 1 failed, 0 skipped";
        assert_eq!(of(&[shown, summary]), "1 passed, 1 failed", "what nextest shows of a test counts once");
    }

    #[test]
    fn lines_that_only_look_like_counts_change_nothing() {
        assert_eq!(of(&["7 passed, 9 failed", "the test result: ok. 3 passed;", ""]), "0 passed, 0 failed");
    }

    #[test]
    fn the_names_of_tests_that_failed_are_kept() {
        let mut outcome = Outcome::default();
        outcome.read("test tree::tests::one_leaf ... FAILED");
        outcome.read("test tree::tests::two_leaves ... ok");
        assert_eq!(outcome.names, ["tree::tests::one_leaf"]);
    }
}
