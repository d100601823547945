//! Frames of a tunnel as chunks of bytes, and back.

use bytes::Bytes;
use firebreak_transport::receive_chunks;
use firebreak_wire::agency::v1::{
    AcceptTunnelRequest, AcceptTunnelResponse, accept_tunnel_request, accept_tunnel_response,
};
use firebreak_wire::matching::v1::{OpenTunnelRequest, OpenTunnelResponse, open_tunnel_request, open_tunnel_response};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};

/// Chunks that may wait on either side.
const WAITING: usize = 8;

fn out_of_turn() -> Status {
    Status::invalid_argument("after its first frame a tunnel carries bytes alone")
}

/// What the gateway passes on from the receiver.
pub(super) fn from_gateway(frames: Streaming<AcceptTunnelRequest>) -> mpsc::Receiver<Bytes> {
    receive_chunks(frames.map(|frame| match frame?.frame {
        Some(accept_tunnel_request::Frame::Bytes(bytes)) => Ok(bytes.into()),
        _ => Err(out_of_turn()),
    }))
}

/// What goes to the receiver by the gateway.
pub(super) fn to_gateway(frames: mpsc::Sender<Result<AcceptTunnelResponse, Status>>) -> mpsc::Sender<Bytes> {
    forward(frames, |bytes| {
        Ok(AcceptTunnelResponse { frame: Some(accept_tunnel_response::Frame::Bytes(bytes.into())) })
    })
}

/// What the gateway passes on from the sender.
pub(super) fn from_sender(frames: Streaming<OpenTunnelResponse>) -> mpsc::Receiver<Bytes> {
    receive_chunks(frames.map(|frame| match frame?.frame {
        Some(open_tunnel_response::Frame::Bytes(bytes)) => Ok(bytes.into()),
        _ => Err(out_of_turn()),
    }))
}

/// What goes to the sender by the gateway.
pub(super) fn to_sender(frames: mpsc::Sender<OpenTunnelRequest>) -> mpsc::Sender<Bytes> {
    forward(frames, |bytes| OpenTunnelRequest { frame: Some(open_tunnel_request::Frame::Bytes(bytes.into())) })
}

fn forward<T: Send + 'static>(
    frames: mpsc::Sender<T>,
    frame: impl Fn(Bytes) -> T + Send + 'static,
) -> mpsc::Sender<Bytes> {
    let (send, mut receive) = mpsc::channel::<Bytes>(WAITING);
    tokio::spawn(async move {
        while let Some(chunk) = receive.recv().await {
            if frames.send(frame(chunk)).await.is_err() {
                return;
            }
        }
    });
    send
}
