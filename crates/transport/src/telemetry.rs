use firebreak_domain::{Clock, SystemClock, Timestamp};
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

/// The only fields that reach a log. Any other one is dropped, whoever writes it.
///
/// PRIVACY: none of these can hold a value about a person, a count, a query or a part of one. Whoever adds a name
/// here says why in the same change.
pub const ALLOWED_FIELDS: &[&str] = &[
    "address",
    "agency",
    "agreement",
    "error_kind",
    "location",
    "method",
    "outcome",
    "purpose",
    "reason",
    "request_id",
    "sequence",
    "step",
    "version",
];

/// Targets whose messages are ours: fixed sentences without values. What other crates say may quote anything.
const OUR_TARGETS: &[&str] = &["firebreak", "agency_adapter"];

/// A log that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a level or filter.
    #[error("the log level is not one: use error, warn, info, debug or trace, alone or as target=level")]
    Level,
    /// A second set-up.
    #[error("the log is already set up")]
    Twice(#[from] TryInitError),
}

/// Starts the log: one line an event on standard error, as text or JSON, with [`ALLOWED_FIELDS`] and nothing else.
///
/// `level` is `info` or the like, or directives as `info,firebreak_gateway=debug`; empty means `info`. Messages of
/// other crates are dropped, of panics all but the place.
///
/// # Errors
/// A level that is none; a log that was already started.
pub fn init(json: bool, level: &str) -> Result<(), TelemetryError> {
    let level = if level.is_empty() { "info" } else { level };
    let filter = EnvFilter::try_new(level).map_err(|_| TelemetryError::Level)?;
    Registry::default().with(filter).with(AllowList::new(json, std::io::stderr())).try_init()?;
    // PRIVACY: a panic's message can quote the value over which it fell.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic");
    }));
    Ok(())
}

/// Writes events as lines, keeping only what the allow-list names.
struct AllowList<W> {
    json: bool,
    out: Mutex<W>,
}

impl<W: Write + Send + 'static> AllowList<W> {
    const fn new(json: bool, out: W) -> Self {
        Self { json, out: Mutex::new(out) }
    }
}

/// The allowed fields of a span or an event.
#[derive(Default)]
struct Kept {
    fields: Vec<(&'static str, Value)>,
    message: Option<String>,
}

impl Kept {
    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if let Some(&allowed) = ALLOWED_FIELDS.iter().find(|&&allowed| allowed == name) {
            self.fields.retain(|(known, _)| *known != allowed);
            self.fields.push((allowed, value.into()));
        }
    }
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = Some(format!("{value:?}"));
        } else {
            self.keep(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }
}

fn is_ours(target: &str) -> bool {
    OUR_TARGETS.iter().any(|ours| target.starts_with(ours))
}

impl<S, W> Layer<S> for AllowList<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut kept = Kept::default();
        if is_ours(attributes.metadata().target()) {
            attributes.record(&mut kept);
        }
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(kept);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if is_ours(span.metadata().target())
            && let Some(kept) = span.extensions_mut().get_mut::<Kept>()
        {
            values.record(kept);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let target = event.metadata().target();
        let mut own = Kept::default();
        if is_ours(target) {
            event.record(&mut own);
        }
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            if let Some(kept) = span.extensions().get::<Kept>() {
                fields.extend(kept.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            }
        }
        fields.extend(own.fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let line = Line {
            // Whole seconds: finer times would tell how long somebody's request took.
            time: SystemClock.now(),
            level: event.metadata().level().as_str(),
            target,
            message: own.message.unwrap_or_default(),
            fields,
        };
        let text = if self.json { line.json() } else { line.text() };
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not stop the program, and there is nowhere left to say so.
        let _ = out.write_all(text.as_bytes());
    }
}

struct Line<'a> {
    time: Timestamp,
    level: &'static str,
    target: &'a str,
    message: String,
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn json(self) -> String {
        let mut line = Map::new();
        line.insert("time".to_owned(), self.time.to_string().into());
        line.insert("level".to_owned(), self.level.into());
        line.insert("target".to_owned(), self.target.into());
        line.insert("message".to_owned(), self.message.into());
        line.extend(self.fields);
        format!("{}\n", Value::Object(line))
    }

    fn text(self) -> String {
        // A message or value with a line break must not look like a line of its own.
        let message: String = self.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut line = format!("{} {:5} {}: {message}", self.time, self.level, self.target);
        for (name, value) in &self.fields {
            // A string cannot fail to be written to.
            let _ = write!(line, " {name}={value}");
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing::{info, info_span};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let subscriber = Registry::default().with(AllowList::new(json, lines.clone()));
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_field_that_is_not_allowed_reaches_no_log() {
        for json in [false, true] {
            let text = logged(json, || {
                let span = info_span!("run", request_id = "ab12", person = "CANARY-1", purpose = tracing::field::Empty);
                let _in = span.enter();
                span.record("purpose", "planning");
                info!(outcome = "refused", sql = "CANARY-2", rows = 4711, error = ?Some("CANARY-3"), "decided");
            });
            assert!(text.contains("ab12") && text.contains("refused") && text.contains("planning"), "{text}");
            assert!(text.contains("decided"), "{text}");
            assert!(!text.contains("CANARY") && !text.contains("4711"), "{text}");
        }
    }

    #[test]
    fn what_other_crates_say_is_dropped() {
        let text = logged(false, || info!(target: "sqlx::query", reason = "CANARY-1", "select CANARY-2"));
        assert!(text.contains("sqlx::query") && !text.contains("CANARY"), "{text}");
    }

    #[test]
    fn a_line_break_in_a_value_or_message_makes_no_second_line() {
        for json in [false, true] {
            let text = logged(json, || info!(reason = "a\nINFO forged", "{}", "b\nINFO forged"));
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn a_json_line_is_json() {
        let text = logged(true, || info!(sequence = 7_u64, step = "load", "loaded"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["sequence"], 7);
        assert_eq!(line["step"], "load");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_level_that_is_none_is_refused_without_being_quoted() {
        let error = init(false, "=CANARY=").unwrap_err();
        assert!(matches!(error, TelemetryError::Level) && !error.to_string().contains("CANARY"));
    }
}
