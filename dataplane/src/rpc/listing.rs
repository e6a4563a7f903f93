//! What is held of some slots, told to another replica page by page.

use std::sync::Arc;
use std::time::Duration;

use proto::data::v1 as pb;
use proto::{ErrorCode, Fault};
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use crate::peers::to_name;
use crate::replicate::{Digests, SlotSet, digests_of, page};
use crate::store::{Class, Store};

/// After how long without a page an empty one says that this goes on: a store may be large, and its disk slow.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// What another replica asks for: slots, and of some of them its digests.
pub(super) struct WantedSlots {
    slots: SlotSet,
    compared: SlotSet,
    digests: bytes::Bytes,
}

/// Reads what is asked for.
pub(super) fn wanted(request: &pb::StreamHoldingsRequest) -> Result<WantedSlots, Status> {
    let invalid = |text| Status::from(Fault::new(ErrorCode::InvalidArgument, text));
    let slots = SlotSet::from_bytes(&request.slots).ok_or_else(|| invalid("slots are 512 bytes"))?;
    let compared = if request.compared_slots.is_empty() {
        SlotSet::default()
    } else {
        SlotSet::from_bytes(&request.compared_slots).ok_or_else(|| invalid("slots are 512 bytes"))?
    };
    if Digests::default().differing(&compared, &request.digests).is_none() {
        return Err(invalid("digests are 8 bytes for each compared slot"));
    }
    Ok(WantedSlots { slots, compared, digests: request.digests.clone() })
}

/// What is held, told to another replica.
pub(super) struct Listing {
    pub(super) store: Arc<Store>,
    /// Places for reading the store.
    pub(super) places: Arc<Semaphore>,
    pub(super) pages: mpsc::Sender<Result<pb::StreamHoldingsResponse, Status>>,
}

impl Listing {
    /// Those of the slots in which something differs, or of which no digest came; and how many are alike.
    pub(super) async fn differing(&self, wanted: WantedSlots) -> Result<(SlotSet, usize), String> {
        let WantedSlots { slots, compared, digests } = wanted;
        self.reading(move |store| {
            let held = digests_of(store, &compared).map_err(|error| error.to_string())?;
            let differing = held.differing(&compared, &digests).unwrap_or_else(|| compared.clone());
            let alike = compared.without(&differing);
            Ok((slots.without(&alike), alike.len()))
        })
        .await
    }

    /// Sends what is held of `slots`, a page whenever the other node takes one.
    pub(super) async fn list(&self, slots: SlotSet) {
        let mut after = None;
        loop {
            let (wanted, from) = (slots.clone(), after.take());
            let read =
                move |store: &Store| page(store, &wanted, from.as_ref()).map_err(|error| error.to_string());
            let (holdings, next) = match self.reading(read).await {
                Ok(read) => read,
                Err(error) => return self.refuse(&error).await,
            };
            let holdings = holdings.iter().map(|holding| pb::Holding {
                name: Some(to_name(&holding.version)),
                info: holding.info,
                go_mod: holding.go_mod,
                zip_size: holding.zip_size,
                published: holding.class == Class::Published,
                retained: holding.class == Class::Retained,
            });
            let page = pb::StreamHoldingsResponse { holdings: holdings.collect() };
            if self.pages.send(Ok(page)).await.is_err() || next.is_none() {
                return;
            }
            after = next;
        }
    }

    /// Reads the store when there is a place for it, which is taken until it has been read, also when nobody waits any more. An empty
    /// page says now and then that this goes on.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let reading = async {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|error| error.to_string())?;
            let store = Arc::clone(&self.store);
            let reading = tokio::task::spawn_blocking(move || {
                let _place = place;
                read(&store)
            });
            reading.await.map_err(|error| error.to_string())?
        };
        tokio::pin!(reading);
        loop {
            match tokio::time::timeout(SIGN_OF_LIFE, &mut reading).await {
                Ok(read) => return read,
                Err(_) => {
                    // Who has a page to take is told enough by that; waiting for him would hold the place that may have come
                    // meanwhile. Who has left is noticed by whoever runs this.
                    let _ = self.pages.try_send(Ok(pb::StreamHoldingsResponse::default()));
                }
            }
        }
    }

    /// Ends a list that is not whole.
    pub(super) async fn refuse(&self, error: &str) {
        tracing::error!(%error, "failed to list what is held");
        let refusal = Fault::new(ErrorCode::Internal, "its store cannot be read");
        let _ = self.pages.send(Err(refusal.into())).await;
    }
}
