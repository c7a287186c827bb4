//! Models that change hands: the owner offers, the receiver accepts, and neither can do it alone.
//!
//! Ids, versions, tags and runs stay what they are. The address that the model had leads to it, and is given to no other model: whoever calls
//! it by its old name gets what they always got, and never somebody else's.

use std::sync::Arc;

use protocol::{ModelRef, Timestamp};

use crate::caller::Caller;
use crate::db::{holding, model, offer};
use crate::models::{MODELS_PER_ACCOUNT_MAX, ModelRow};
use crate::storage::hold_all;
use crate::{Registry, RegistryError};

/// A model that its owner would give to another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub model: ModelRef,
    /// Names of accounts.
    pub from: String,
    pub to: String,
    pub offered_at: Timestamp,
}

impl Registry {
    /// Offers a model to an account, in the place of any earlier offer.
    pub async fn offer_model(&self, caller: &Caller, model: &ModelRef, to: &str) -> Result<Offer, RegistryError> {
        let row = self.require_own_model(caller, model).await?;
        let receiver = self.find_account(to).await?.ok_or(RegistryError::AccountUnknown)?;
        if receiver.id == caller.account.id {
            return Err(RegistryError::BadField { field: "to", why: "is the owner already" });
        }
        let (model_id, to_account, now) = (row.id.clone(), receiver.id.clone(), self.clock.now());
        self.db.write(move |tx| Box::pin(async move { offer::put(tx, &model_id, &to_account, now).await })).await?;
        Ok(Offer { model: model.clone(), from: caller.account.name.clone(), to: receiver.name.clone(), offered_at: now })
    }

    /// What an account was offered, and what it offers, the newest first.
    pub async fn list_offers(&self, caller: &Caller) -> Result<Vec<Offer>, RegistryError> {
        let account_id = caller.account.id.clone();
        self.db.read(move |tx| Box::pin(async move { offer::list(tx, &account_id).await })).await
    }

    /// Refuses an offer, or takes back one's own.
    pub async fn end_offer(&self, caller: &Caller, model: &ModelRef) -> Result<(), RegistryError> {
        let (account_id, model) = (caller.account.id.clone(), model.clone());
        let ended = self.db.write(move |tx| Box::pin(async move { offer::end(tx, &model, &account_id).await })).await?;
        ended.then_some(()).ok_or(RegistryError::OfferUnknown)
    }

    /// Takes a model that was offered. What it keeps counts for its new owner, who must have room for it.
    pub async fn accept_offer(&self, caller: &Caller, model: &ModelRef) -> Result<Arc<ModelRow>, RegistryError> {
        let account = caller.account.clone();
        let (offered, house_limit, now) = (model.clone(), self.house_limit(), self.clock.now());
        let arrived = ModelRef { owner: account.name.clone(), name: model.name.clone() };
        let new_address = arrived.clone();
        let accept = self.db.write(move |tx| {
            Box::pin(async move {
                let found = offer::find(tx, &offered, &account.id).await?.ok_or(RegistryError::OfferUnknown)?;
                if model::count(tx, &account.name).await? >= MODELS_PER_ACCOUNT_MAX {
                    return Err(RegistryError::TooManyModels { max: MODELS_PER_ACCOUNT_MAX });
                }
                // An address that this very model left is free for it.
                if model::find(tx, &new_address).await?.is_some_and(|other| other.id != found.model_id) {
                    return Err(RegistryError::ModelTaken { model: new_address });
                }
                let kept = holding::of_model(tx, &found.from_id, &found.model_id).await?;
                offer::move_model(tx, &found, &account.name, now).await?;
                holding::release_model(tx, &found.from_id, &found.model_id).await?;
                hold_all(tx, &account.id, &kept, house_limit, now).await
            })
        });
        accept.await?;
        self.catalogue.forget_model(model);
        self.catalogue.forget_model(&arrived);
        self.load_model(&arrived).await?.ok_or(RegistryError::ModelUnknown)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Reference;

    use super::*;
    use crate::models::{ModelPatch, NewModel, Visibility};
    use crate::storage::StorageRules;
    use crate::testing::{new_version, on_both_engines};

    #[tokio::test]
    async fn a_model_goes_over_only_when_both_sides_say_so_and_its_old_address_leads_to_it() {
        on_both_engines(|house| async move {
            let (ada, bob, eve) = (house.caller("ada").await, house.caller("bob").await, house.caller("eve").await);
            let old = house.model(&ada, "echo").await.model.clone();
            let version = house.publish(&ada, &old, new_version("one")).await.id;
            let kept = house.registry.storage_of(&ada.account.id).await.unwrap().kept;
            let unasked = house.registry.accept_offer(&bob, &old).await;
            assert!(matches!(unasked, Err(RegistryError::OfferUnknown)), "{unasked:?}");
            let foreign = house.registry.offer_model(&bob, &old, "bob").await;
            assert!(matches!(foreign, Err(RegistryError::NotOwner)), "{foreign:?}");

            let offer = house.registry.offer_model(&ada, &old, "bob").await.unwrap();
            assert_eq!(house.registry.list_offers(&bob).await.unwrap(), std::slice::from_ref(&offer));
            assert_eq!(house.registry.list_offers(&ada).await.unwrap(), [offer]);
            assert_eq!(house.registry.list_offers(&eve).await.unwrap(), []);
            let stolen = house.registry.accept_offer(&eve, &old).await;
            assert!(matches!(stolen, Err(RegistryError::OfferUnknown)), "{stolen:?}");

            let arrived = house.registry.accept_offer(&bob, &old).await.unwrap();
            let new = ModelRef::new("bob", "echo").unwrap();
            assert_eq!((&arrived.model, &arrived.owner_id), (&new, &bob.account.id));
            for reference in [
                Reference::Latest(old.clone()),
                Reference::Latest(new.clone()),
                Reference::Exact(old.clone(), version),
                Reference::Bare(version),
            ] {
                let found = house.registry.resolve(&reference, "").await.unwrap().unwrap();
                assert_eq!((found.version.id, &found.model.model), (version, &new), "{reference:?}");
            }
            for (caller, expected) in [(&ada, 0), (&bob, kept)] {
                assert_eq!(house.registry.storage_of(&caller.account.id).await.unwrap().kept, expected);
            }
            let late = house.registry.patch_model(&ada, &old, ModelPatch::default()).await;
            assert!(matches!(&late, Err(RegistryError::ModelMoved { to }) if *to == new), "{late:?}");
            let squat = NewModel::named(old.clone(), Visibility::Public, "cpu");
            let squat = house.registry.create_model(&ada, squat).await;
            assert!(matches!(squat, Err(RegistryError::ModelTaken { .. })), "the old address is given to no other: {squat:?}");

            house.registry.offer_model(&bob, &new, "ada").await.unwrap();
            assert_eq!(house.registry.accept_offer(&ada, &new).await.unwrap().model, old, "and home again");
            assert_eq!(house.registry.resolve(&Reference::Latest(new), "").await.unwrap().unwrap().model.model, old);
        })
        .await;
    }

    #[tokio::test]
    async fn an_offer_ends_by_either_side_and_is_refused_where_there_is_no_room() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let model = house.model(&ada, "echo").await.model.clone();
            house.publish(&ada, &model, new_version("one")).await;
            for ender in [&ada, &bob] {
                house.registry.offer_model(&ada, &model, "bob").await.unwrap();
                house.registry.end_offer(ender, &model).await.unwrap();
                let again = house.registry.end_offer(ender, &model).await;
                assert!(matches!(again, Err(RegistryError::OfferUnknown)), "{again:?}");
                let late = house.registry.accept_offer(&bob, &model).await;
                assert!(matches!(late, Err(RegistryError::OfferUnknown)), "{late:?}");
            }
            for (to, refused) in [("ada", "the owner"), ("nobody", "an account that is none")] {
                assert!(house.registry.offer_model(&ada, &model, to).await.is_err(), "{refused}");
            }
            house.registry.offer_model(&ada, &model, "bob").await.unwrap();
            let tight = house.registry.clone().with_storage(StorageRules { limit: Some(1), ..StorageRules::default() });
            let refused = tight.accept_offer(&bob, &model).await;
            assert!(matches!(refused, Err(RegistryError::OverLimit(_))), "{refused:?}");
            house.model(&bob, "echo").await;
            let taken = house.registry.accept_offer(&bob, &model).await;
            assert!(matches!(taken, Err(RegistryError::ModelTaken { .. })), "{taken:?}");
            assert_eq!(house.registry.find_model(&model, "").await.unwrap().unwrap().owner_id, ada.account.id, "nothing has moved");
        })
        .await;
    }
}
