//! Tags: names that point at a version now and may point at another later. Each move is written down, and none is ever unwritten.

use protocol::{ModelRef, Tag, Timestamp, VersionId};
use store::Tx;

use crate::caller::Caller;
use crate::cursor::{Direction, Page, Scan};
use crate::db::{tag, version};
use crate::models::ModelRow;
use crate::{Registry, RegistryError};

/// Names that the tags of one model may have had.
pub(crate) const TAGS_PER_MODEL_MAX: i64 = 1_000;

/// Where a tag points, or pointed, and who pointed it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    pub tag: Tag,
    /// From 1, and without a gap.
    pub number: i64,
    pub version: VersionId,
    /// The name of an account, if there still is one.
    pub moved_by: Option<String>,
    pub moved_at: Timestamp,
}

/// A move that is about to be made.
#[derive(Clone, Debug)]
pub(crate) struct Pointing {
    pub(crate) tag: Tag,
    /// Or the digest of a manifest that is none.
    pub(crate) version: VersionId,
    pub(crate) moved_by_id: String,
    pub(crate) moved_at: Timestamp,
}

/// Where a tag is to point.
#[derive(Clone, Debug)]
enum Target {
    Version(VersionId),
    /// What it pointed at before it came to where it is.
    Earlier,
}

impl Registry {
    /// Lists where a model's tags point, `latest` first.
    pub async fn list_tags(&self, model: &ModelRow) -> Result<Vec<TagMove>, RegistryError> {
        let model_id = model.id.clone();
        self.db.read(move |tx| Box::pin(async move { tag::list(tx, &model_id).await })).await
    }

    /// Lists where a tag points and has pointed, the latest move first.
    pub async fn list_tag_moves(&self, model: &ModelRow, tag: &Tag, cursor: Option<&str>) -> Result<Page<TagMove>, RegistryError> {
        let scan = Scan::of(Direction::Descending, cursor)?;
        let (model_id, tag, fetched) = (model.id.clone(), tag.clone(), scan.clone());
        let rows = self.db.read(move |tx| Box::pin(async move { tag::history(tx, &model_id, &tag, &fetched).await })).await?;
        Ok(scan.page(rows, |row| (row.number, String::new())))
    }

    /// Points a tag at a version. Where it points there already, nothing is written.
    pub async fn move_tag(&self, caller: &Caller, model: &ModelRef, tag: &Tag, to: VersionId) -> Result<TagMove, RegistryError> {
        self.point_tag(caller, model, tag, Target::Version(to)).await
    }

    /// Points `latest` at an earlier version: the one that is named, or the one before the current one. What runs is not disturbed; whoever
    /// asks for the latest from now on gets that one.
    pub async fn roll_back(&self, caller: &Caller, model: &ModelRef, to: Option<VersionId>) -> Result<TagMove, RegistryError> {
        self.point_tag(caller, model, &Tag::latest(), to.map_or(Target::Earlier, Target::Version)).await
    }

    async fn point_tag(&self, caller: &Caller, model: &ModelRef, tag: &Tag, target: Target) -> Result<TagMove, RegistryError> {
        let row = self.require_own_model(caller, model).await?;
        let (model_id, tag, now) = (row.id.clone(), tag.clone(), self.clock.now());
        let account = caller.account.clone();
        let moved = self.db.write(move |tx| {
            Box::pin(async move {
                let current = tag::find(tx, &model_id, &tag).await?;
                let to = match (target, &current) {
                    (Target::Version(version), _) => version,
                    (Target::Earlier, Some(current)) => {
                        tag::before(tx, &model_id, &tag, &current.version).await?.ok_or(RegistryError::NothingEarlier)?
                    }
                    (Target::Earlier, None) => return Err(RegistryError::NothingEarlier),
                };
                if version::presence(tx, &model_id, &to).await? != Some(version::Presence::Present) {
                    return Err(RegistryError::VersionUnknown);
                }
                match current {
                    Some(current) if current.version == to => return Ok(current),
                    None if tag::count(tx, &model_id).await? >= TAGS_PER_MODEL_MAX => {
                        return Err(RegistryError::TooManyTags { max: TAGS_PER_MODEL_MAX });
                    }
                    _ => {}
                }
                let pointing = Pointing { tag: tag.clone(), version: to, moved_by_id: account.id.clone(), moved_at: now };
                let number = tag::point(tx, &model_id, &pointing).await?;
                Ok(TagMove { tag, number, version: to, moved_by: Some(account.name.clone()), moved_at: now })
            })
        });
        let moved = moved.await?;
        self.catalogue.forget_model(model);
        Ok(moved)
    }
}

/// Gives a manifest that is there a name. Where the name points there already, nothing is written.
pub(crate) async fn name(tx: &mut Tx, model_id: &str, to: Pointing) -> Result<(), RegistryError> {
    match tag::resolve(tx, model_id, &to.tag).await? {
        Some(current) if current == *to.version.digest() => return Ok(()),
        None if tag::count(tx, model_id).await? >= TAGS_PER_MODEL_MAX => {
            return Err(RegistryError::TooManyTags { max: TAGS_PER_MODEL_MAX });
        }
        _ => {}
    }
    tag::point(tx, model_id, &to).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::Reference;

    use super::*;
    use crate::testing::{House, new_version, on_both_engines};

    async fn published(house: &House, ada: &Caller, model: &ModelRef, texts: &[&str]) -> Vec<VersionId> {
        let mut ids = Vec::new();
        for text in texts {
            house.clock.advance_millis(1);
            ids.push(house.publish(ada, model, new_version(text)).await.id);
        }
        ids
    }

    async fn latest(house: &House, model: &ModelRef) -> Option<VersionId> {
        let found = house.registry.resolve(&Reference::Latest(model.clone()), "").await.unwrap();
        found.map(|found| found.version.id)
    }

    async fn moves(house: &House, model: &ModelRow, tag: &Tag) -> Vec<(i64, VersionId)> {
        let page = house.registry.list_tag_moves(model, tag, None).await.unwrap();
        page.rows.into_iter().map(|row| (row.number, row.version)).collect()
    }

    #[tokio::test]
    async fn going_back_twice_goes_back_two_versions_and_the_moves_are_on_record() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let ids = published(&house, &ada, &model.model, &["one", "two", "three"]).await;
            let back = house.registry.roll_back(&ada, &model.model, None).await.unwrap();
            assert_eq!((back.number, back.version, back.moved_by.as_deref()), (4, ids[1], Some("ada")));
            assert_eq!(latest(&house, &model.model).await, Some(ids[1]), "it is in force at once");
            assert_eq!(house.registry.roll_back(&ada, &model.model, None).await.unwrap().version, ids[0]);
            let further = house.registry.roll_back(&ada, &model.model, None).await;
            assert!(matches!(further, Err(RegistryError::NothingEarlier)), "{further:?}");

            let named = house.registry.roll_back(&ada, &model.model, Some(ids[2])).await.unwrap();
            let again = house.registry.roll_back(&ada, &model.model, Some(ids[2])).await.unwrap();
            assert_eq!((named.number, again), (6, named), "a move to where it points is none");
            let expected = [(6, ids[2]), (5, ids[0]), (4, ids[1]), (3, ids[2]), (2, ids[1]), (1, ids[0])];
            assert_eq!(moves(&house, &model, &Tag::latest()).await, expected);
        })
        .await;
    }

    #[tokio::test]
    async fn a_tag_moves_by_name_and_only_to_what_is_there() {
        on_both_engines(|house| async move {
            let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
            let model = house.model(&ada, "echo").await;
            let ids = published(&house, &ada, &model.model, &["one", "two"]).await;
            let stable: Tag = "stable".parse().unwrap();
            for id in [ids[0], ids[1]] {
                house.registry.move_tag(&ada, &model.model, &stable, id).await.unwrap();
            }
            let listed = house.registry.list_tags(&model).await.unwrap();
            let listed: Vec<_> = listed.iter().map(|each| (each.tag.as_str(), each.number, each.version)).collect();
            assert_eq!(listed, [("latest", 2, ids[1]), ("stable", 2, ids[1])]);

            let absent = VersionId::new(protocol::Digest::of(b"absent"));
            let unknown = house.registry.move_tag(&ada, &model.model, &stable, absent).await;
            assert!(matches!(unknown, Err(RegistryError::VersionUnknown)), "{unknown:?}");
            let foreign = house.registry.move_tag(&bob, &model.model, &stable, ids[0]).await;
            assert!(matches!(foreign, Err(RegistryError::NotOwner)), "{foreign:?}");
            assert_eq!(moves(&house, &model, &stable).await, [(2, ids[1]), (1, ids[0])]);
        })
        .await;
    }

    #[tokio::test]
    async fn when_the_latest_is_deleted_the_one_before_it_is_not_the_one_that_was_left() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let ids = published(&house, &ada, &model.model, &["one", "two", "three"]).await;
            let stable: Tag = "stable".parse().unwrap();
            house.registry.move_tag(&ada, &model.model, &stable, ids[1]).await.unwrap();
            house.registry.roll_back(&ada, &model.model, None).await.unwrap();
            house.registry.delete_version(&ada, &model.model, &ids[1]).await.unwrap();
            assert_eq!(latest(&house, &model.model).await, Some(ids[0]), "`three` was rolled back: it does not return by itself");
            let listed = house.registry.list_tags(&model).await.unwrap();
            assert_eq!(listed.iter().map(|each| each.tag.as_str()).collect::<Vec<_>>(), ["latest"], "a deleted version has no names");
            let deleted = house.registry.roll_back(&ada, &model.model, Some(ids[1])).await;
            assert!(matches!(deleted, Err(RegistryError::VersionUnknown)), "{deleted:?}");

            house.registry.delete_version(&ada, &model.model, &ids[0]).await.unwrap();
            assert_eq!(latest(&house, &model.model).await, Some(ids[2]), "before the first there is nothing: the newest that is left");
        })
        .await;
    }

    #[tokio::test]
    async fn racing_publishers_make_one_line_of_history() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            let model = house.model(&ada, "echo").await;
            let texts = ["one", "one", "two", "two", "three", "three", "four", "four"];
            for text in texts {
                house.upload_files(&new_version(text)).await;
            }
            let others: Vec<_> = texts.iter().map(|text| (house.another_process(), new_version(text))).collect();
            let races = others.iter().map(|(registry, new)| registry.publish(&ada, &model.model, new.clone()));
            let published = futures::future::try_join_all(races).await.unwrap();
            for pair in published.chunks(2) {
                assert_eq!(pair[0].version.id, pair[1].version.id);
                assert_eq!(pair.iter().filter(|each| each.fresh).count(), 1);
            }
            let moves = moves(&house, &model, &Tag::latest()).await;
            assert_eq!(moves.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 3, 2, 1]);
            assert_eq!(latest(&house, &model.model).await, Some(moves[0].1), "the last move is where it points");
        })
        .await;
    }
}
