//! A sample of a committed set, for those who oversee the agency and sit with its steward.

use super::hand_out::{Parts, batches, sent};
use super::{LocalMatch, OPEN, allowed};
use crate::app::{MOST_PLACES, MatchError, SampledPlace};
use crate::rpc::match_status;
use firebreak_wire::local::v1 as wire;
use tonic::{Request, Response, Status};

/// Places in one message.
const PLACES: usize = 200;

impl LocalMatch {
    pub(super) async fn send_sample(
        &self,
        request: Request<wire::OpenSampleRequest>,
    ) -> Result<Response<Parts<wire::OpenSampleResponse>>, Status> {
        allowed(&request, OPEN)?;
        let request = request.into_inner();
        let session = <[u8; 32]>::try_from(request.session_id.as_slice())
            .map_err(|_| Status::invalid_argument("a session id has 32 bytes"))?;
        let seed = <[u8; 32]>::try_from(request.seed.as_slice())
            .map_err(|_| Status::invalid_argument("a seed has 32 bytes, drawn by those who check"))?;
        if !(1..=MOST_PLACES).contains(&request.places) {
            return Err(Status::invalid_argument(format!("a sample has 1 to {MOST_PLACES} places")));
        }
        let sample = self.app.open_sample(&session, &seed, request.places).await.map_err(not_opened)?;
        let sample = sample.ok_or_else(|| {
            Status::not_found(
                "nothing is kept that opens the commitment of that session: name one as `firebreak match` showed it; \
                 after the agreement's retention it is deleted",
            )
        })?;
        let (size, root) = (sample.root.size, sample.root.hash.to_vec());
        let leaf = sample.leaf.as_bytes().to_vec();
        let message = move |places| wire::OpenSampleResponse { size, root: root.clone(), leaf: leaf.clone(), places };
        Ok(sent(batches(sample.places.into_iter().map(to_wire).collect(), PLACES).map(message)))
    }
}

fn to_wire(place: SampledPlace) -> wire::SampledPlace {
    let SampledPlace { opening, padding, persons } = place;
    wire::SampledPlace {
        place: opening.index,
        item: opening.item,
        padding,
        persons,
        salt: opening.salt.to_vec(),
        path: opening.path.concat(),
    }
}

fn not_opened(error: MatchError) -> Status {
    match error {
        refused @ MatchError::Refused(_) => match_status(refused),
        error => {
            tracing::error!(error_kind = %error, "a sample could not be opened");
            Status::internal("the sample could not be opened: the adapter's own log says why; ask again")
        }
    }
}
