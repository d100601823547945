//! What is published, and what it can have cost a person, over HTTP, for everybody. Nothing here asks who calls, and
//! nothing that is not public is read.

mod loss;

use super::publication::head;
use crate::app::{App, Failure, ShownPublication};
use firebreak_domain::{OrgId, SeriesId, Timestamp};
use firebreak_format::{Format, FormatError, PublishedAnswer, stage};
use firebreak_transport::{Page, Validators};
use firebreak_wire::publication::v1::Publication;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

const FOLDER: &str = "/publications/";
const LOSS: &str = "/loss/";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Each format by the ending of the address, with its type. The longer ending first: `.sdmx.csv` ends in `.csv`, too.
const ENDINGS: [(&str, Format, &str); 4] = [
    (".sdmx.csv", Format::SdmxCsv, "application/vnd.sdmx.data+csv; version=2.0.0"),
    (".csv", Format::Csv, "text/csv; charset=utf-8; header=present"),
    (".parquet", Format::Parquet, "application/vnd.apache.parquet"),
    (".json", Format::Json, JSON),
];

/// What an address below `/publications/` names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    organisation: OrgId,
    series: SeriesId,
    /// `None` for the newest.
    revision: Option<u32>,
    format: Format,
    content_type: &'static str,
}

impl Named {
    /// `<organisation>/<series>.<ending>` or `<organisation>/<series>/<revision>.<ending>`. Each has one spelling.
    // SECURITY: the parts are names that are looked up; none is ever a path of a file.
    fn read(path: &str) -> Option<Self> {
        let (stem, format, content_type) =
            ENDINGS.iter().find_map(|(text, format, kind)| Some((path.strip_suffix(text)?, *format, *kind)))?;
        let mut parts = stem.split('/');
        let (organisation, series, revision) = (parts.next()?, parts.next()?, parts.next());
        let revision = match revision {
            None => None,
            Some(text) => Some(text.parse::<u32>().ok().filter(|number| *number > 0 && number.to_string() == text)?),
        };
        let (organisation, series) = (OrgId::new(organisation).ok()?, SeriesId::new(series).ok()?);
        parts.next().is_none().then_some(Self { organisation, series, revision, format, content_type })
    }
}

/// The page at a path; `None` where there is nothing, or nothing public. Blocks on the state, which `runtime` reads.
#[must_use]
pub fn public_page(app: &App, runtime: &Handle, path: &str) -> Option<Page> {
    if let Some(path) = path.strip_prefix(LOSS) {
        return loss::page(app, path);
    }
    let path = path.strip_prefix(FOLDER)?;
    let page = match path {
        "" => index(app, runtime, HTML, &html),
        "index.json" => index(app, runtime, JSON, &list),
        _ => file(app, runtime, &Named::read(path)?),
    };
    page.unwrap_or_else(|failure| {
        tracing::error!(error_kind = %failure, "a publication could not be shown");
        None
    })
}

fn file(app: &App, runtime: &Handle, named: &Named) -> Result<Option<Page>, Failure> {
    let Named { organisation, series, revision, format, content_type } = named;
    let Some(shown) = runtime.block_on(app.open_revision(organisation, series, *revision))? else { return Ok(None) };
    let modified = modified(&shown);
    let (head, rows) = head(app, &shown)?;
    let published = PublishedAnswer::new(head, rows);
    let body = format.published(&published).map_err(|_| Failure::Answer("published figures"))?;
    let described_by = format!("{FOLDER}{organisation}/{series}/{}.json", published.publication.revision);
    let described_by = (*format != Format::Json).then_some(described_by);
    Ok(Some(Page { described_by, ..page(content_type, body, modified) }))
}

/// A list of all that is public.
fn index(
    app: &App,
    runtime: &Handle,
    content_type: &'static str,
    lay_out: &dyn Fn(&[Publication]) -> Result<String, FormatError>,
) -> Result<Option<Page>, Failure> {
    let shown = runtime.block_on(app.open_publications())?;
    let modified = shown.iter().map(modified).max().unwrap_or(Timestamp::from_secs(0));
    let publications = shown.iter().map(|one| Ok(head(app, one)?.0.publication.unwrap_or_default()));
    let publications = publications.collect::<Result<Vec<_>, Failure>>()?;
    let body = lay_out(&publications).map_err(|_| Failure::Answer("the list of publications"))?;
    Ok(Some(page(content_type, body.into_bytes(), modified)))
}

/// When it was published. That it was replaced later shows in its description, whose hash changes with it.
fn modified(shown: &ShownPublication) -> Timestamp {
    shown.stored.published.as_ref().map_or(Timestamp::from_secs(0), |published| published.at)
}

fn page(content_type: &'static str, body: Vec<u8>, modified: Timestamp) -> Page {
    let etag = hex::encode(Sha256::digest(&body));
    Page { validators: Some(Validators { etag, modified }), ..Page::new(content_type, true, body.into()) }
}

/// The path of a publication's files, without their ending.
fn stem(publication: &Publication) -> String {
    format!("{FOLDER}{}/{}/{}", publication.organisation, publication.series, publication.revision)
}

/// As JSON: `format` (1) and `publications`, each with `organisation`, `series`, `revision`, `state`, `published`,
/// `dataset`, `title`, `cut`, `release_id`, `address` and `files`, by their endings.
fn list(publications: &[Publication]) -> Result<String, FormatError> {
    let one = |publication: &Publication| {
        let files = ENDINGS.iter().map(|(ending, ..)| {
            (ending.trim_start_matches('.').to_owned(), format!("{}{ending}", stem(publication)).into())
        });
        serde_json::json!({
            "organisation": publication.organisation,
            "series": publication.series,
            "revision": publication.revision,
            "state": stage(publication),
            "published": Timestamp::from_secs(publication.published).to_string(),
            "dataset": publication.dataset,
            "title": publication.title,
            "cut": publication.cut,
            "release_id": publication.release_id,
            "address": publication.address,
            "files": serde_json::Value::Object(files.collect()),
        })
    };
    let all: Vec<_> = publications.iter().map(one).collect();
    Ok(serde_json::to_string(&serde_json::json!({ "format": firebreak_domain::FORMAT, "publications": all }))? + "\n")
}

/// As a page for people, without script or style.
fn html(publications: &[Publication]) -> Result<String, FormatError> {
    let mut rows = String::new();
    for publication in publications {
        let links = ENDINGS.iter().map(|(ending, ..)| {
            let (path, name) = (format!("{}{ending}", stem(publication)), ending.trim_start_matches('.'));
            let what = format!("{} of {}, revision {}", name, publication.series, publication.revision);
            format!("<a href=\"{}\" aria-label=\"{}\">{}</a>", escaped(&path), escaped(&what), escaped(name))
        });
        let cells = [&publication.title, &publication.cut, &publication.organisation];
        let cells: String = cells.iter().map(|text| format!("<td>{}</td>", escaped(text))).collect();
        let published = Timestamp::from_secs(publication.published);
        rows += &format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td>{cells}<td><time datetime=\"{published}\">{published}</time></td>\
             <td>{}</td><td>{}</td></tr>\n",
            escaped(&publication.series),
            publication.revision,
            stage(publication),
            links.collect::<Vec<_>>().join(" "),
        );
    }
    let headings = ["Series", "Revision", "Title", "Cut", "Published by", "Published", "State", "Files"];
    let lead = format!(
        "<p>Differentially private releases that are published to everybody. The same list for programs: \
         <a href=\"{FOLDER}index.json\">index.json</a>. <a href=\"{LOSS}\">What a person can have lost</a> by all \
         releases, published or not.</p>"
    );
    Ok(document("Publications", &lead, "By organisation, series and revision", &headings, &rows))
}

/// A page for people: what it is, and a table.
fn document(title: &str, lead: &str, caption: &str, headings: &[&str], rows: &str) -> String {
    let headings: String = headings.iter().map(|text| format!("<th scope=\"col\">{text}</th>")).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title></head>\n<body>\n<main>\n<h1>{title}</h1>\n{lead}\n\
         <table>\n<caption>{caption}</caption>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table>\n</main>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling_and_reaches_nothing_else() {
        let named = Named::read("nso/visits/12.sdmx.csv").unwrap();
        assert_eq!((named.organisation.as_str(), named.series.as_str()), ("nso", "visits"));
        assert_eq!((named.revision, named.format), (Some(12), Format::SdmxCsv));
        let newest = Named::read("nso.main/visits.csv").unwrap();
        assert_eq!((newest.organisation.as_str(), newest.revision, newest.format), ("nso.main", None, Format::Csv));
        for path in [
            "",
            "nso",
            "nso.csv",
            "/visits.csv",
            "nso/.csv",
            "nso/visits",
            "nso/visits.xlsx",
            "nso/visits/.csv",
            "nso/visits/0.csv",
            "nso/visits/01.csv",
            "nso/visits/+1.csv",
            "nso/visits/-1.csv",
            "nso/visits/1 .csv",
            "nso/visits/4294967296.csv",
            "nso/visits/1/2.csv",
            "nso//1.csv",
            "../nso/visits.csv",
            "nso/../visits.csv",
            "nso/%2e%2e/1.csv",
            "nso/visits%2f1.csv",
            "NSO/visits.csv",
            "nso/visits.sdmx/1.csv",
            "nso/visits/1.csv/",
            "nso/vis\0its.csv",
            "nso/visits/1.CSV",
        ] {
            assert_eq!(Named::read(path), None, "{path}");
        }
    }

    #[test]
    fn what_a_contract_says_is_text_in_the_page_and_nothing_else() {
        let publication = Publication {
            organisation: "nso".into(),
            series: "visits".into(),
            revision: 1,
            title: "<script>alert(\"x\")</script> & more".into(),
            ..Publication::default()
        };
        let page = html(std::slice::from_ref(&publication)).unwrap();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&quot;x&quot;)"), "{page}");
        let listed: serde_json::Value = serde_json::from_str(&list(&[publication]).unwrap()).unwrap();
        assert_eq!(listed["publications"][0]["files"]["sdmx.csv"], "/publications/nso/visits/1.sdmx.csv");
    }
}
