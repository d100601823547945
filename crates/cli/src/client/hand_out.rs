use super::matching::local;
use super::{ClientError, Connection};
use firebreak_wire::local::v1::hand_out_response::Part;
use firebreak_wire::local::v1::{HandOutForm, HandOutRequest, HandOutResponse, HandedOut, ListHandedOutRequest};
use sha2::{Digest, Sha256};
use tonic::Streaming;

/// A file of matched keys on its way.
pub struct HandOut {
    parts: Streaming<HandOutResponse>,
    hash: Sha256,
}

/// A part of a file of matched keys.
#[derive(Debug, Clone, PartialEq)]
pub enum HandOutPart {
    /// The next bytes.
    Piece(Vec<u8>),
    /// All came, as the register has it.
    Whole(HandedOut),
}

impl HandOut {
    /// The next part. What came before [`HandOutPart::Whole`] is no file.
    ///
    /// # Errors
    /// [`ClientError`], also if the file ends early or is another than the one in the register.
    pub async fn part(&mut self) -> Result<HandOutPart, ClientError> {
        while let Some(message) = self.parts.message().await? {
            match message.part {
                None => {}
                Some(Part::Piece(piece)) => {
                    self.hash.update(&piece);
                    return Ok(HandOutPart::Piece(piece));
                }
                Some(Part::HandedOut(entry)) => {
                    let hash: [u8; 32] = self.hash.clone().finalize().into();
                    let same = entry.sha256 == hash;
                    return if same {
                        Ok(HandOutPart::Whole(entry))
                    } else {
                        Err(ClientError::Answer("the file that came is not the one that the register names"))
                    };
                }
            }
        }
        Err(ClientError::Answer("it ended before the file was whole"))
    }
}

/// Has the own agency's adapter hand out the keys that a session matched, to an officer, as a file.
///
/// # Errors
/// [`ClientError`], [`ClientError::Refused`] to anybody else.
pub async fn hand_out(connection: &Connection, session: &[u8], form: HandOutForm) -> Result<HandOut, ClientError> {
    let request = HandOutRequest { session_id: session.to_vec(), form: form.into() };
    let parts = local(connection).hand_out(request).await?.into_inner();
    Ok(HandOut { parts, hash: Sha256::new() })
}

/// What the own agency's adapter has handed out of matches, the oldest first.
///
/// # Errors
/// [`ClientError`].
pub async fn list_handed_out(connection: &Connection) -> Result<Vec<HandedOut>, ClientError> {
    let mut batches = local(connection).list_handed_out(ListHandedOutRequest {}).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(batch) = batches.message().await? {
        entries.extend(batch.entries);
    }
    Ok(entries)
}
