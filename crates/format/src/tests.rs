use super::*;
use serde_json::{Value, json};

fn as_json(answer: &QueryAnswer) -> Value {
    serde_json::from_str(&json::answer(answer).unwrap()).unwrap()
}

/// The lines of SDMX-CSV below its heading.
fn sdmx_lines(answer: &QueryAnswer) -> Vec<String> {
    sdmx_csv::answer(answer).split_terminator("\r\n").skip(1).map(str::to_owned).collect()
}

fn told(answer: &QueryAnswer, key: &str) -> Option<String> {
    let metadata = arrow::metadata(&answer.accepted, &answer.released);
    metadata.into_iter().find(|(of, _)| *of == key).map(|(_, value)| value)
}

#[test]
fn every_format_says_what_a_partial_answer_lacks_and_a_whole_one_says_nothing_of_it() {
    let (partial, whole) = (samples::partial(), samples::answer());
    let said = "other.visits of other: other is not connected";
    assert_eq!(missing(&partial.released), said);
    let csv = csv::answer(&partial.accepted, &partial.rows);
    assert!(csv.contains(",P") && !csv.contains(",A"), "{csv}");

    let json = as_json(&partial);
    let expected = json!([{ "agency": "other", "dataset": "other.visits", "why": "other is not connected" }]);
    assert_eq!(json["missing"], expected);
    assert_eq!(json["registrations"], json!(["visits"]));
    assert_eq!(json["parts"][0]["release_id"], "r-1");
    let plain = as_json(&whole);
    assert!(["missing", "registrations", "parts"].iter().all(|key| plain.get(key).is_none()), "{plain}");

    assert_eq!(told(&partial, "missing").as_deref(), Some(said));
    assert_eq!(told(&partial, "registrations").as_deref(), Some("visits"));

    assert!(sdmx_csv::answer(&partial).lines().next().unwrap().ends_with(",COMMENT_OBS,RELEASE_ID,CUT,LEFT_OUT"));
    let lines = sdmx_lines(&partial);
    assert!(lines.iter().all(|line| line.ends_with(&format!("{said},r-1,2024-Q4,"))), "{lines:?}");
    assert!(!sdmx_csv::answer(&whole).contains(said));
}

#[test]
fn every_format_marks_what_counts_registrations_under_whatever_name() {
    let mut answer = samples::partial();
    answer.released.missing.clear();
    if let Some(column) = answer.accepted.columns.first_mut() {
        (column.name, column.rounded) = ("people".into(), Some(-1));
    }
    let csv = csv::answer(&answer.accepted, &answer.rows);
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert!(lines[0].contains(",people_status,people_marks,\"mean, cost\","), "{csv}");
    assert!(!lines[0].contains("cost_marks"), "{csv}");
    assert!(lines[1..].iter().all(|line| line.matches(",rounded to 10; registrations,").count() == 1), "{csv}");

    let lines = sdmx_lines(&answer);
    let (of_people, others): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.contains(",people,"));
    assert_eq!((of_people.len(), others.len()), (2, 2));
    assert!(of_people.iter().all(|line| line.ends_with(",rounded to 10; registrations,r-1,2024-Q4,")), "{lines:?}");
    assert!(others.iter().all(|line| line.ends_with(",,r-1,2024-Q4,")), "{lines:?}");

    assert_eq!(told(&answer, "registrations").as_deref(), Some("people"));
    assert!(arrow::schema(&answer.accepted).column_with_name("people_marks").is_some());
    let json = as_json(&answer);
    assert_eq!(json["rows"][0]["outputs"]["people"]["marks"], "rounded to 10; registrations");
    assert!(json["rows"][0]["outputs"]["mean, cost"].get("marks").is_none(), "{json}");
}

#[test]
fn every_format_with_a_place_for_it_says_what_bounding_leaves_out_published_or_not() {
    let said = "health.visits: 120 (standard error 10.5, 95 % 99 to 141) rows of 64.25 (standard error 4, 95 % 56.25 \
                to 72.25) persons, release r-2; health.doses: not measured at this cut yet, who asks pays once, for \
                everybody: SELECT 2, 3";
    let (joined, plain) = (samples::joined(), samples::answer());
    assert_eq!(told(&joined, "left_out").as_deref(), Some(said));
    let lines = sdmx_lines(&joined);
    assert!(lines.iter().all(|line| line.ends_with(&format!(",r-1,2024-Q4,\"{said}\""))), "{lines:?}");
    let json = as_json(&joined);
    assert_eq!(json["left_out"][0]["rows"]["value"], 120.0);
    assert_eq!(json["left_out"][1]["question"], "SELECT 2, 3");
    assert!(told(&plain, "left_out").is_none() && as_json(&plain).get("left_out").is_none());
    assert!(sdmx_lines(&plain).iter().all(|line| line.ends_with(",r-1,2024-Q4,")));

    // What everybody reads has it from the head of the publication.
    let published = published(&joined);
    for format in [Format::SdmxCsv, Format::Parquet, Format::Json] {
        let text = format.published(&published).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("SELECT 2, 3") && text.contains("r-2"), "{format:?}");
    }
}

/// The answer as everybody reads it, by the head that is sent.
fn published(answer: &QueryAnswer) -> PublishedAnswer {
    let QueryAnswer { accepted, rows, released } = answer.clone();
    let Released { estimand, all_groups, left_out, .. } = released;
    let head =
        PublicationHead { accepted: Some(accepted), estimand, all_groups, left_out, ..PublicationHead::default() };
    PublishedAnswer::new(head, rows)
}

#[test]
fn how_groups_were_selected_is_told_published_or_not() {
    let selected = samples::selected();
    let json = as_json(&selected);
    assert_eq!(json["selection"], json!({ "threshold": 23, "delta": 1e-10 }));
    assert_eq!(json["cost"]["delta"], 1e-10);
    assert_eq!((&json["all_groups"]["value"], &json["all_groups"]["upper_95"]), (&json!(41.5), &json!(45.5)));
    let of_published: Value = serde_json::from_str(&json::published(&published(&selected)).unwrap()).unwrap();
    assert!(["selection", "all_groups"].iter().all(|key| of_published[key] == json[key]), "{of_published}");
    let plain = as_json(&samples::answer());
    assert!(["selection", "all_groups"].iter().all(|key| plain.get(key).is_none()), "{plain}");
}
