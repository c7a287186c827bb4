//! Deployments on both databases.

use protocol::signing::{Bundle, FilesStatement, SigningKey};

use super::*;
use crate::testing::{House, new_version, on_both_engines};

async fn catalogued(house: &House, owner: &Caller, text: &str) -> Arc<Catalogued> {
    let model = ModelRef::new(&owner.account.name, "echo").unwrap();
    if house.registry.find_model(&model, &owner.account.id).await.unwrap().is_none() {
        house.model(owner, "echo").await;
    }
    let version = house.publish(owner, &model, new_version(text)).await;
    let reference = protocol::Reference::Exact(model, version.id);
    house.registry.resolve(&reference, &owner.account.id).await.unwrap().unwrap()
}

fn new(catalogued: &Arc<Catalogued>, name: &str) -> NewDeployment {
    NewDeployment {
        name: name.to_owned(),
        catalogued: catalogued.clone(),
        hardware: "cpu".to_owned(),
        scale: Scale::new(1, 2).expect("one to two is a scale"),
        require_signature: false,
    }
}

#[tokio::test]
async fn every_change_is_a_release_with_the_next_number_and_all_of_them_are_kept() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let (first, second) = (catalogued(&house, &ada, "one").await, catalogued(&house, &ada, "two").await);
        let created = house.registry.create_deployment(&ada, new(&first, "prod")).await.unwrap();
        let found = house.registry.find_deployment(&created.name, &ada.account.id).await.unwrap().unwrap();
        assert_eq!((&*found, found.release.number, found.release.version), (&*created, 1, first.version.id));

        house.clock.advance_millis(1);
        let change = ReleaseChange { version: Some(second.version.id), instances_max: Some(5), ..ReleaseChange::default() };
        let released = house.registry.release(&ada, &created.name, change).await.unwrap();
        assert_eq!((released.release.number, released.release.version), (2, second.version.id));
        assert_eq!((released.release.scale, &*released.release.hardware), (Scale::new(1, 5).unwrap(), "cpu"));
        let found = house.registry.find_deployment(&created.name, &ada.account.id).await.unwrap().unwrap();
        assert_eq!(found, released);
        assert_eq!(house.registry.deployments_in_force().await.unwrap(), [(*released).clone()]);

        let nothing = house.registry.release(&ada, &created.name, ReleaseChange::default()).await.unwrap();
        assert_eq!(nothing, released);
        let history = house.registry.list_releases(&released, None).await.unwrap().rows;
        assert_eq!(history, [released.release.clone(), created.release.clone()]);
    })
    .await;
}

#[tokio::test]
async fn a_scale_is_judged_with_the_half_that_stays() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let created = house.registry.create_deployment(&ada, new(&catalogued(&house, &ada, "one").await, "prod")).await.unwrap();
        let change = ReleaseChange { instances_min: Some(3), ..ReleaseChange::default() };
        let refused = house.registry.release(&ada, &created.name, change).await;
        assert!(matches!(refused, Err(RegistryError::BadScale(BadScale::MinAboveMax))), "{refused:?}");
        let change = ReleaseChange { instances_min: Some(0), instances_max: Some(0), ..ReleaseChange::default() };
        let off = house.registry.release(&ada, &created.name, change).await.unwrap();
        assert!(off.release.scale.is_off() && off.release.number == 2);
        let change = ReleaseChange { instances_buffer: Some(2), linger: Some(Linger::Seconds(60)), ..ReleaseChange::default() };
        house.registry.release(&ada, &created.name, change).await.unwrap();
        let change = ReleaseChange { linger: Some(Linger::AsTheRunnerHasIt), ..ReleaseChange::default() };
        let last = house.registry.release(&ada, &created.name, change).await.unwrap();
        let history = house.registry.list_releases(&last, None).await.unwrap().rows;
        let pools: Vec<_> = history.iter().map(|release| (release.scale.buffer(), release.scale.linger().seconds())).collect();
        assert_eq!(pools, [(2, None), (2, Some(60)), (0, None), (0, None)]);
    })
    .await;
}

#[tokio::test]
async fn a_stranger_sees_a_deployment_exactly_as_an_unknown_one() {
    on_both_engines(|house| async move {
        let (ada, bob) = (house.caller("ada").await, house.caller("bob").await);
        let mine = house.registry.create_deployment(&ada, new(&catalogued(&house, &ada, "one").await, "prod")).await.unwrap();
        let unknown = ModelRef::new("ada", "unknown").unwrap();
        for name in [&mine.name, &unknown] {
            assert_eq!(house.registry.find_deployment(name, &bob.account.id).await.unwrap(), None);
            let change = ReleaseChange { instances_min: Some(0), ..ReleaseChange::default() };
            let released = house.registry.release(&bob, name, change).await;
            assert!(matches!(released, Err(RegistryError::DeploymentUnknown)), "{released:?}");
            let deleted = house.registry.delete_deployment(&bob, name).await;
            assert!(matches!(deleted, Err(RegistryError::DeploymentUnknown)), "{deleted:?}");
        }
        assert_eq!(house.registry.list_deployments(&bob.account.id, None).await.unwrap().rows, []);
        assert_eq!(house.registry.list_deployments(&ada.account.id, None).await.unwrap().rows, [(*mine).clone()]);
    })
    .await;
}

#[tokio::test]
async fn a_name_is_taken_until_its_deployment_is_deleted() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let version = catalogued(&house, &ada, "one").await;
        let first = house.registry.create_deployment(&ada, new(&version, "prod")).await.unwrap();
        let again = house.registry.create_deployment(&ada, new(&version, "prod")).await;
        assert!(matches!(again, Err(RegistryError::DeploymentTaken { .. })), "{again:?}");
        let bad = house.registry.create_deployment(&ada, new(&version, "../prod")).await;
        assert!(matches!(bad, Err(RegistryError::BadName(_))), "{bad:?}");

        house.registry.delete_deployment(&ada, &first.name).await.unwrap();
        assert_eq!(house.registry.find_deployment(&first.name, &ada.account.id).await.unwrap(), None);
        assert_eq!(house.registry.deployments_in_force().await.unwrap(), []);
        let second = house.registry.create_deployment(&ada, new(&version, "prod")).await.unwrap();
        assert!(second.id != first.id && second.release.number == 1);
    })
    .await;
}

#[tokio::test]
async fn a_list_of_deployments_shows_each_once() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let version = catalogued(&house, &ada, "one").await;
        let mut made = Vec::new();
        for n in 0..30 {
            made.insert(0, house.registry.create_deployment(&ada, new(&version, &format!("d{n}"))).await.unwrap().name.clone());
            house.clock.advance_millis(1);
        }
        let first = house.registry.list_deployments(&ada.account.id, None).await.unwrap();
        let second = house.registry.list_deployments(&ada.account.id, first.next.as_deref()).await.unwrap();
        let seen: Vec<ModelRef> = first.rows.iter().chain(&second.rows).map(|row| row.name.clone()).collect();
        assert_eq!((seen, second.next), (made, None));
    })
    .await;
}

#[tokio::test]
async fn a_release_by_another_process_is_seen_within_seconds() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let created = house.registry.create_deployment(&ada, new(&catalogued(&house, &ada, "one").await, "prod")).await.unwrap();
        house.registry.find_deployment(&created.name, &ada.account.id).await.unwrap();
        let change = ReleaseChange { instances_max: Some(9), ..ReleaseChange::default() };
        let released = house.another_process().release(&ada, &created.name, change).await.unwrap();
        house.clock.advance_millis(DEPLOYMENTS_TTL_MS);
        assert_eq!(house.registry.find_deployment(&created.name, &ada.account.id).await.unwrap(), Some(released));
    })
    .await;
}

#[tokio::test]
async fn a_release_that_requires_a_signature_is_made_only_while_a_key_vouches_for_its_version() {
    on_both_engines(|house| async move {
        let ada = house.caller("ada").await;
        let (first, second) = (catalogued(&house, &ada, "one").await, catalogued(&house, &ada, "two").await);
        let careful = NewDeployment { require_signature: true, ..new(&first, "prod") };
        let refused = house.registry.create_deployment(&ada, careful.clone()).await;
        assert!(matches!(refused, Err(RegistryError::Unsigned { version }) if version == first.version.id), "{refused:?}");

        let key = SigningKey::of_seed(&[7; 32]);
        house.registry.add_key(&ada, "laptop", &key.public().to_pem()).await.unwrap();
        let bundle = Bundle::sign(&key, &FilesStatement::of(&first.version.files).to_bytes("echo")).to_json();
        house.registry.add_signature(&ada, &first.model.model, &first.version.id, &bundle).await.unwrap();
        let created = house.registry.create_deployment(&ada, careful).await.unwrap();
        let other = ReleaseChange { version: Some(second.version.id), ..ReleaseChange::default() };
        let refused = house.registry.release(&ada, &created.name, other.clone()).await;
        assert!(matches!(refused, Err(RegistryError::Unsigned { version }) if version == second.version.id), "{refused:?}");

        house.clock.advance_millis(1_000);
        house.registry.revoke_key(&ada, &key.public().id(), house.clock.now()).await.unwrap();
        let larger = ReleaseChange { instances_max: Some(3), ..ReleaseChange::default() };
        let refused = house.registry.release(&ada, &created.name, larger).await;
        assert!(matches!(refused, Err(RegistryError::Unsigned { .. })), "{refused:?}");
        let found = house.registry.find_deployment(&created.name, &ada.account.id).await.unwrap().unwrap();
        assert_eq!((found.release.number, found.release.require_signature), (1, true));
        let careless = ReleaseChange { require_signature: Some(false), ..other };
        assert_eq!(house.registry.release(&ada, &created.name, careless).await.unwrap().release.number, 2);
    })
    .await;
}
