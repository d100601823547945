//! A look at what a program shows on loopback.

use crate::Address;
use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer of a loopback listener to `GET path`, status line and headers included.
///
/// # Errors
/// A listener that does not answer.
pub async fn http_answer(address: Address, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The file at a path of a loopback listener.
///
/// # Errors
/// A listener that does not answer, or has nothing there.
pub async fn http_file(address: Address, path: &str) -> Result<Vec<u8>> {
    let answer = http_answer(address, path).await?;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "there is nothing at {path}");
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the headers")?;
    Ok(answer.get(head + 4..).unwrap_or_default().to_vec())
}

/// The sum of a figure of a program's metrics over all its labels; zero while it has none of that name.
///
/// # Errors
/// A listener that does not answer.
pub async fn figure(address: Address, name: &str) -> Result<u64> {
    let page = String::from_utf8(http_file(address, "/metrics").await?)?;
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let values = page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}
