//! Calls by their paths, with messages as bytes: any method can be called, and every byte of an answer kept.

use anyhow::{Context, Result};
use prost::bytes::{Buf, BufMut};
use std::time::Duration;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// A header's name and value.
pub type Header<'a> = (&'static str, &'a str);

async fn begin(
    channel: &Channel,
    path: PathAndQuery,
    headers: &[Header<'_>],
    request: Vec<u8>,
) -> Result<Streaming<Vec<u8>>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut request = Request::new(tokio_stream::iter([request]));
    for (name, value) in headers {
        let value = value.parse().map_err(|_| Status::invalid_argument("a header's value is ASCII"))?;
        request.metadata_mut().append(*name, value);
    }
    let answer = client.streaming(request, path, Raw).await?;
    Ok(answer.into_inner())
}

/// Calls a method by its path; what the other side says first, which is nothing if the call just ends.
///
/// # Errors
/// A path that is none; an answer that does not come.
pub async fn send(channel: &Channel, path: &str, request: Vec<u8>) -> Result<Result<Vec<u8>, Status>> {
    let path: PathAndQuery = path.parse()?;
    let said = async { begin(channel, path, &[], request).await?.message().await.map(Option::unwrap_or_default) };
    timeout(ANSWER, said).await.context("no answer")
}

/// Calls a method by its path and keeps everything that the other side says: messages, trailers, the status with its
/// details, one after another.
///
/// # Errors
/// A path that is none; an answer that does not come.
pub async fn hear(channel: &Channel, path: &str, request: Vec<u8>) -> Result<Vec<u8>> {
    hear_under(channel, path, &[], request).await
}

/// The same of a call with headers.
///
/// # Errors
/// As [`hear`].
pub async fn hear_under(channel: &Channel, path: &str, headers: &[Header<'_>], request: Vec<u8>) -> Result<Vec<u8>> {
    let path: PathAndQuery = path.parse()?;
    let heard = async {
        let mut heard = Vec::new();
        let end = async {
            let mut messages = begin(channel, path, headers, request).await?;
            while let Some(message) = messages.message().await? {
                heard.extend(message);
                heard.push(b'\n');
            }
            messages.trailers().await
        };
        match end.await {
            Ok(trailers) => heard.extend(format!("{trailers:?}").into_bytes()),
            Err(status) => {
                heard
                    .extend(format!("{:?} {} {:?}\n", status.code(), status.message(), status.metadata()).into_bytes());
                heard.extend_from_slice(status.details());
            }
        }
        heard
    };
    timeout(ANSWER, heard).await.context("no answer")
}
