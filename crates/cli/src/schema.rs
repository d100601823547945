//! The schema of an agency's file, as far as a contract is checked against it: no row is read.

use arrow::datatypes::{DataType, Schema};
use firebreak_domain::FileType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// The longest heading of a CSV file, in bytes.
const LONGEST_HEADING: u64 = 1 << 20;

/// A file whose schema cannot be read. Quotes nothing from the file.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not there, or not readable.
    #[error("the file cannot be read ({})", .0.kind())]
    Unreadable(#[from] io::Error),
    /// Not Parquet.
    #[error("the file is not Parquet")]
    NotParquet,
    /// No heading.
    #[error("the file does not begin with a line of column names in UTF-8")]
    NoHeading,
    /// Another kind of file.
    #[error("the file is neither .parquet nor .csv")]
    OtherKind,
}

/// The columns of a file and what each holds, from the footer of a Parquet file or the heading of a CSV file. Every
/// column of a CSV file is text.
///
/// # Errors
/// [`SchemaError`].
pub fn of_file(file: &Path) -> Result<Vec<(String, FileType)>, SchemaError> {
    match file.extension().and_then(|e| e.to_str()) {
        Some("parquet") => {
            let opened = File::open(file)?;
            let read = ArrowReaderMetadata::load(&opened, Default::default()).map_err(|_| SchemaError::NotParquet)?;
            Ok(kinds(read.schema()))
        }
        Some("csv") => {
            let names = heading(&mut BufReader::new(io::Read::take(File::open(file)?, LONGEST_HEADING)))?;
            Ok(names.into_iter().map(|name| (name, FileType::Text)).collect())
        }
        _ => Err(SchemaError::OtherKind),
    }
}

fn kinds(schema: &Schema) -> Vec<(String, FileType)> {
    schema.fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
}

fn kind(kind: &DataType) -> FileType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FileType::Text,
        DataType::Dictionary(_, value) => self::kind(value),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => FileType::Date,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            FileType::Binary
        }
        kind if kind.is_integer() => FileType::Integer,
        kind if kind.is_numeric() => FileType::Decimal,
        _ => FileType::Other,
    }
}

/// The fields of the first record (RFC 4180): quoted ones may hold commas, line breaks and doubled quotes.
fn heading(reader: &mut impl BufRead) -> Result<Vec<String>, SchemaError> {
    let mut record = String::new();
    // A record goes on while a quote is open: the count of quotes is then odd.
    loop {
        let read = reader.read_line(&mut record).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => SchemaError::NoHeading,
            _ => SchemaError::Unreadable(error),
        })?;
        let open = record.bytes().filter(|b| *b == b'"').count() % 2 == 1;
        match (open, read) {
            (true, 0) => return Err(SchemaError::NoHeading),
            (true, _) => {}
            (false, _) => break,
        }
    }
    let record = record.strip_prefix('\u{feff}').unwrap_or(&record);
    let record = record.strip_suffix('\n').unwrap_or(record);
    let record = record.strip_suffix('\r').unwrap_or(record);
    if record.is_empty() {
        return Err(SchemaError::NoHeading);
    }
    Ok(split(record))
}

fn split(record: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                put(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => put(&mut fields, other),
        }
    }
    fields
}

fn put(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    fn names(text: &str) -> Vec<String> {
        heading(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn a_csv_heading_is_read_with_quotes_and_marks() {
        assert_eq!(names("a,b,c\r\n1,2,3\r\n"), ["a", "b", "c"]);
        assert_eq!(
            names("\u{feff}\"a, b\",\"say \"\"x\"\"\",\"two\nlines\"\n1,2,3\n"),
            ["a, b", "say \"x\"", "two\nlines"]
        );
        assert_eq!(names("only"), ["only"]);
        for text in ["", "\n", "\"never closed\n1,2\n"] {
            assert!(matches!(heading(&mut text.as_bytes()), Err(SchemaError::NoHeading)), "{text:?}");
        }
        assert!(matches!(heading(&mut &b"\xff\xfe,\n"[..]), Err(SchemaError::NoHeading)));
    }

    #[test]
    fn a_parquet_schema_is_read_without_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.parquet");
        let types = [
            ("text", DataType::Utf8, FileType::Text),
            ("code", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), FileType::Text),
            ("whole", DataType::UInt16, FileType::Integer),
            ("money", DataType::Decimal128(12, 2), FileType::Decimal),
            ("float", DataType::Float32, FileType::Decimal),
            ("day", DataType::Date32, FileType::Date),
            ("moment", DataType::Timestamp(TimeUnit::Microsecond, None), FileType::Date),
            ("template", DataType::Binary, FileType::Binary),
            ("flag", DataType::Boolean, FileType::Other),
        ];
        let fields: Vec<_> = types.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true)).collect();
        let writer = ArrowWriter::try_new(File::create(&file).unwrap(), Arc::new(Schema::new(fields)), None).unwrap();
        writer.close().unwrap();
        let expected: Vec<_> = types.iter().map(|(name, _, kind)| ((*name).to_owned(), *kind)).collect();
        assert_eq!(of_file(&file).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_read_is_said_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("fake.parquet");
        std::fs::write(&fake, "no parquet, but a name: Ada").unwrap();
        assert!(matches!(of_file(&fake), Err(SchemaError::NotParquet)));
        assert!(matches!(of_file(&folder.path().join("gone.csv")), Err(SchemaError::Unreadable(_))));
        assert!(matches!(of_file(&folder.path().join("x.xlsx")), Err(SchemaError::OtherKind)));
    }
}
