//! The folder's database as a program of somebody else's reads it.

use std::path::Path;

/// A program of somebody else's that reads the folder's database.
pub async fn stranger(folder: &Path, read_only: bool) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("state.sqlite"));
    sqlx::ConnectOptions::connect(&options.read_only(read_only)).await.unwrap()
}

/// The first and last bytes of the sealed secret of every session and of all that ends with it, as they stand on the
/// disk.
pub async fn sealed(folder: &Path) -> Vec<Vec<u8>> {
    let mut reading = stranger(folder, true).await;
    let query = "SELECT secret FROM sessions UNION ALL SELECT sealed FROM session_chunks WHERE chunk < 4294967295";
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(query).fetch_all(&mut reading).await.unwrap();
    sqlx::Connection::close(reading).await.unwrap();
    rows.into_iter().flat_map(|row| [row[..40].to_vec(), row[row.len() - 40..].to_vec()]).collect()
}
