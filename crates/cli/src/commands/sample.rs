//! `firebreak sample`.

use super::new_file::NewFile;
use crate::arguments::LocalOptions;
use crate::client::{Sample, open_sample};
use crate::failure::Failure;
use crate::number::count;
use crate::table::fields;
use crate::terminal::Terminal;
use clap::Args;
use firebreak_wire::local::v1::SampledPlace;
use std::path::PathBuf;

const HEADING: &str = "place,holds,identifier,persons,item,salt,path\r\n";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The session, as `firebreak match` showed it
    #[arg(long, value_name = "HEX")]
    session: String,
    /// 32 bytes that the overseers draw once the commitment is in the log
    #[arg(long, value_name = "HEX")]
    seed: String,
    /// How many places to open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    places: u32,
    /// Writes the places to a new file that you alone can read, for the overseers to look each identifier up in the source
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    local: LocalOptions,
}

pub(crate) async fn run(arguments: Arguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let session = bytes(&arguments.session, "--session takes the hexadecimal digits that `firebreak match` showed")?;
    let seed = bytes(&arguments.seed, "--seed takes 64 hexadecimal digits")?;
    let mut file = NewFile::open(&arguments.out)?;
    let connection = arguments.local.connect().await?;
    let sample = open_sample(&connection, &session, &seed, arguments.places).await?;
    file.write(HEADING.as_bytes())?;
    for place in &sample.places {
        file.write(line(place).as_bytes())?;
    }
    file.keep()?;
    terminal.block(shown(&sample, terminal.width))?;
    terminal.note(format!(
        "The places are in {}. Compare the root with what `firebreak audit open` shows of the leaf, and look each \
         identifier up in the source.",
        arguments.out.display()
    ));
    Ok(())
}

fn bytes(digits: &str, otherwise: &str) -> Result<Vec<u8>, Failure> {
    let decoded = hex::decode(digits).ok().filter(|bytes| bytes.len() == 32);
    decoded.ok_or_else(|| Failure::Usage(otherwise.to_owned()))
}

fn shown(sample: &Sample, width: usize) -> String {
    let padding = sample.places.iter().filter(|place| place.padding).count() as u64;
    let opened = sample.places.len() as u64;
    fields(
        &[
            ("Places committed to", &count(sample.size.into())),
            ("Root", &hex::encode(&sample.root)),
            ("Leaf", &hex::encode(&sample.leaf)),
            ("Opened", &count(opened)),
            ("Padding", &count(padding)),
            ("Identifiers", &count(opened.saturating_sub(padding))),
        ],
        width,
    )
}

/// A place as a line of CSV (RFC 4180).
fn line(place: &SampledPlace) -> String {
    let text = str::from_utf8(&place.item).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    let identifier = text.filter(|_| !place.padding).unwrap_or_default();
    let holds = if place.padding { "padding" } else { "identifier" };
    let path: Vec<_> = place.path.chunks(32).map(hex::encode).collect();
    let persons = place.persons.join(" ").replace('"', "\"\"");
    format!(
        "{},{holds},{identifier},\"{persons}\",{},{},{}\r\n",
        place.place,
        hex::encode(&place.item),
        hex::encode(&place.salt),
        path.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u32, padding: bool) -> SampledPlace {
        SampledPlace {
            place: number,
            item: if padding { vec![0x90; 20] } else { b"AB123456C".to_vec() },
            padding,
            persons: if padding { Vec::new() } else { vec!["P-1".into(), "P \"2\"".into()] },
            salt: vec![0xab; 32],
            path: [[1; 32], [2; 32]].concat(),
        }
    }

    #[test]
    fn each_place_is_a_line_and_padding_is_no_identifier() {
        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let salt = "ab".repeat(32);
        let held = format!("3,identifier,AB123456C,\"P-1 P \"\"2\"\"\",414231323334353643,{salt},{one} {two}\r\n");
        assert_eq!(line(&place(3, false)), held);
        assert_eq!(line(&place(4, true)), format!("4,padding,,\"\",{},{salt},{one} {two}\r\n", "90".repeat(20)));
        assert_eq!(HEADING.matches(',').count(), held.matches(',').count());
    }

    #[test]
    fn counts_and_the_root_are_shown_and_no_identifier() {
        let places = vec![place(1, false), place(2, true), place(3, true)];
        let sample = Sample { size: 4096, root: vec![0xcd; 32], leaf: vec![0xef; 32], places };
        let text = shown(&sample, 100).replace('\u{202f}', " ");
        for part in ["4 096", &"cd".repeat(32), &"ef".repeat(32)] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("AB123456C") && !text.contains("P-1"), "{text}");
    }
}
