//! What Hetzner refuses, and what must not be touched.

use super::*;

async fn failure(world: &World, token: &str, options: &ClusterOptions) -> String {
    let (made, _) = world.up(&world.provider_with(token, false), options).await;
    made.err().expect("it is refused").to_string()
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_said_to_be() {
    let world = World::new().await;
    let error = failure(&world, "aTokenOfNobody", &options()).await;
    assert!(error.contains("HCLOUD_TOKEN is not a valid token"), "{error}");
    let error = failure(&world, READ_ONLY_TOKEN, &options()).await;
    assert!(error.contains("Read & Write") && error.contains("nothing was made"), "{error}");
    assert!(world.ours().await.is_empty());
}

#[tokio::test]
async fn a_token_of_another_project_sees_and_deletes_nothing() {
    let world = World::new().await;
    world.up(&world.provider(), &options()).await.0.unwrap();
    let other = world.provider_with(OTHER_TOKEN, false);
    assert!(other.find().await.unwrap().is_empty());
    let folder = world.folder.path().join(NAME);
    std::fs::rename(&folder, world.folder.path().join("kept")).unwrap();
    assert!(matches!(other.delete(NAME, &mut |_| ()).await, Err(ProviderError::NotFound { .. })));
    assert!(matches!(other.open(NAME, None).await, Err(ProviderError::NotFound { .. })));
    std::fs::rename(world.folder.path().join("kept"), folder).unwrap();
    assert_eq!(without_addresses(world.ours().await), FINISHED);
}

#[tokio::test]
async fn a_quota_that_is_reached_is_said_and_leaves_nothing() {
    // The strangers' server, the control plane and one worker.
    let world = World::with(|mut config| {
        config.limits.servers = 3;
        config
    });
    let world = world.await;
    let error = failure(&world, TOKEN, &options()).await;
    assert!(error.contains("request a higher limit") && error.contains("; removed server "), "{error}");
    assert!(error.contains("Hetzner lists nothing more of the cluster"), "{error}");
    assert!(world.ours().await.is_empty());
    assert!(!world.folder.path().join(NAME).exists());
}

#[tokio::test]
async fn an_option_that_hetzner_does_not_have_is_bad_input() {
    let world = World::new().await;
    let refusal = async |change: fn(&mut ClusterOptions)| {
        let mut options = options();
        change(&mut options);
        match world.up(&world.provider(), &options).await.0 {
            Err(ProviderError::Option { message, .. }) => message,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it is not refused"),
        }
    };
    let error = refusal(|options| options.cloud.server_type = Some("cx99".to_owned())).await;
    assert!(error.starts_with("Hetzner has no server type cx99 (types: "), "{error}");
    let error = refusal(|options| options.cloud.location = Some("moon1".to_owned())).await;
    assert!(error.starts_with("Hetzner has no location moon1 (locations: "), "{error}");
    let error = refusal(|options| options.node_image = Some("debian-1".to_owned())).await;
    assert!(error.contains("no usable image debian-1"), "{error}");
    let error = refusal(|options| options.cloud.max_cost = Some("0.01".to_owned())).await;
    assert!(error.contains("but --max-cost is 0.0100"), "{error}");
    assert!(world.ours().await.is_empty());
    let changes = world.way.bodies().iter().filter(|body| !body.is_empty()).count();
    assert_eq!(changes, 0, "nothing was asked for");
}

#[tokio::test]
async fn a_type_without_capacity_is_replaced_by_the_next() {
    let world = World::new().await;
    world.fail(json!({"name": "resource-unavailable", "times": 1})).await;
    let (made, lines) = world.up(&world.provider(), &options()).await;
    made.unwrap();
    assert!(lines.iter().any(|line| line.contains("at the moment")), "{lines:?}");
    assert_eq!(without_addresses(world.ours().await), FINISHED);
    let servers = super::super::create::servers_of(&world.client(TOKEN), NAME).await.unwrap();
    let locations: std::collections::BTreeSet<_> = servers.iter().map(|server| &server.location.name).collect();
    assert_eq!(locations.len(), 1, "volumes reach servers of their own location only");
}

#[tokio::test]
async fn an_action_that_fails_takes_back_what_was_made() {
    let world = World::new().await;
    world.fail(json!({"name": "create-server-fails", "times": 1})).await;
    let error = failure(&world, TOKEN, &options()).await;
    assert!(error.contains("action create_server") && error.contains("lists nothing more"), "{error}");
    assert!(world.ours().await.is_empty());
}

#[tokio::test]
async fn a_cluster_that_does_not_get_ready_is_removed_unless_it_is_kept() {
    let world = World::new().await;
    let provider = world.provider_with(TOKEN, true);
    let error = world.up(&provider, &options()).await.0.err().unwrap().to_string();
    assert!(error.starts_with("the API server does not answer; removed server "), "{error}");
    assert!(world.ours().await.is_empty());
    let mut keep = options();
    keep.cloud.keep = true;
    let error = world.up(&provider, &keep).await.0.err().unwrap().to_string();
    assert!(error.contains("kept, and costs money: `firedrill down firedrill-a3f`"), "{error}");
    assert_eq!(without_addresses(world.ours().await), FINISHED);
    // A second `up` finishes it.
    world.up(&world.provider(), &options()).await.0.unwrap();
    assert_eq!(without_addresses(world.ours().await), FINISHED);
}

#[tokio::test]
async fn a_cluster_of_the_same_name_from_another_machine_is_left_alone() {
    let world = World::new().await;
    world.up(&world.provider(), &options()).await.0.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let account = Arc::new(world.account(TOKEN, world.way.address));
    let access = Access::Given(account, elsewhere.path().to_owned());
    let remove_timeout = Duration::from_secs(2);
    let other = Hetzner { access, set_up: Arc::new(NoKubernetes { fails: false }), remove_timeout };
    let error = world.up(&other, &options()).await.0.err().unwrap().to_string();
    assert!(error.contains("only the machine that made it can open it"), "{error}");
    // Both looked at the same time, and neither saw the other one.
    let error = other.create(&options(), &mut |_| ()).await.err().unwrap().to_string();
    assert!(error.contains("was made by another `up`"), "{error}");
    assert_eq!(without_addresses(world.ours().await), FINISHED, "what another one made stays");
    // By its name it can be deleted from anywhere.
    other.delete(NAME, &mut |_| ()).await.unwrap();
    assert!(world.ours().await.is_empty());
}

#[tokio::test]
async fn a_sweep_takes_only_clusters_whose_lifetime_has_passed() {
    let world = World::new().await;
    let provider = world.provider();
    let mut long = options();
    long.name = "firedrill-long".to_owned();
    long.cloud.lifetime = Some(Duration::from_secs(3 * 24 * 3600));
    world.up(&provider, &options()).await.0.unwrap();
    world.up(&provider, &long).await.0.unwrap();
    let clock = crate::clock::Clock::start();
    let now = clock.unix_seconds(clock.now());
    assert!(provider.sweep(now, &mut |_| ()).await.unwrap().is_empty());
    let lines = provider.sweep(now + DAY_S, &mut |_| ()).await.unwrap();
    assert!(lines.iter().any(|line| line.starts_with("deleted server firedrill-a3f-worker-1 (")), "{lines:?}");
    let ours = world.ours().await;
    assert!(!ours.is_empty() && ours.iter().all(|name| !name.contains(NAME)), "{ours:?}");
    assert!(!world.folder.path().join(NAME).exists() && world.folder.path().join("firedrill-long").exists());
}
