//! The API fails, or the program dies, at every single request. Afterwards a second `up` goes on, `down` or a sweep removes everything,
//! and strangers' resources are as before.

use super::*;

/// More requests than a cluster takes.
const REQUESTS_MAX: usize = 200;
/// How long a request is repeated that fails on purpose.
const SHORT: Duration = Duration::from_millis(500);

/// Runs something until it ends, or the program dies.
async fn until_death<T>(world: &World, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = world.way.died() => None,
        done = work => Some(done),
    }
}

async fn sweep(world: &World, provider: &Hetzner) {
    world.way.strike(Strike::Never);
    let clock = crate::clock::Clock::start();
    let later = clock.unix_seconds(clock.now()) + DAY_S;
    provider.sweep(later, &mut |_| ()).await.unwrap();
    assert!(world.ours().await.is_empty(), "a sweep leaves nothing");
}

#[tokio::test]
async fn an_api_that_goes_down_at_any_request_leaves_nothing_in_the_end() {
    for at in 1..REQUESTS_MAX {
        let (mut world, name) = (World::new().await, NAME);
        world.patience = SHORT;
        let provider = world.provider();
        world.way.strike(Strike::Down(at));
        let (made, _) = world.up(&provider, &options()).await;
        if !world.way.has_struck() {
            made.unwrap();
            assert!(at > 15, "only {at} requests");
            return;
        }
        let error = made.err().unwrap_or_else(|| panic!("up succeeded though request {at} failed")).to_string();
        let is_left = !world.ours().await.is_empty();
        assert!(!is_left || error.contains(&format!("firedrill down {name}")), "request {at}: {error}");
        assert!(!error.contains("lists nothing more"), "nothing is proven without an API: {error}");
        sweep(&world, &provider).await;
    }
    panic!("more than {REQUESTS_MAX} requests");
}

#[tokio::test]
async fn a_request_that_fails_for_good_takes_back_what_was_made() {
    for at in 1..REQUESTS_MAX {
        let mut world = World::new().await;
        world.patience = SHORT;
        let provider = world.provider();
        world.way.strike(Strike::Refuse(at));
        let (made, _) = world.up(&provider, &options()).await;
        if !world.way.has_struck() {
            made.unwrap();
            assert!(at > 15, "only {at} requests");
            return;
        }
        match made {
            // Others were sent at the same time, and it was repeated.
            Ok(_) => assert_eq!(without_addresses(world.ours().await), FINISHED, "request {at}"),
            Err(error) => {
                let (error, ours) = (error.to_string(), world.ours().await);
                let is_proven = error.contains("Hetzner lists nothing");
                assert!(!is_proven || ours.is_empty(), "request {at}: {error}; {ours:?}");
                assert!(ours.is_empty() || error.contains("could not be removed"), "request {at}: {error}; {ours:?}");
            }
        }
        sweep(&world, &provider).await;
    }
    panic!("more than {REQUESTS_MAX} requests");
}

async fn dies_during_up(carried_out: bool) {
    for at in 1..REQUESTS_MAX {
        let world = World::new().await;
        let provider = world.provider();
        world.way.strike(Strike::Die { at, carried_out });
        let ended = until_death(&world, world.up(&provider, &options())).await;
        if let Some((made, _)) = ended {
            made.unwrap();
            assert!(at > 15, "only {at} requests");
            return;
        }
        world.way.strike(Strike::Never);
        // Half of them are swept, the other half goes on with a new process.
        let provider = world.provider();
        if at % 2 == 0 {
            sweep(&world, &provider).await;
            continue;
        }
        world.up(&provider, &options()).await.0.unwrap();
        assert_eq!(without_addresses(world.ours().await), FINISHED, "request {at}");
        provider.delete(NAME, &mut |_| ()).await.unwrap();
        assert!(world.ours().await.is_empty(), "request {at}");
    }
    panic!("more than {REQUESTS_MAX} requests");
}

#[tokio::test]
async fn an_up_that_dies_before_any_request_is_finished_by_the_next_or_swept() {
    dies_during_up(false).await;
}

#[tokio::test]
async fn an_up_that_dies_after_any_request_is_finished_by_the_next_or_swept() {
    dies_during_up(true).await;
}

#[tokio::test]
async fn a_down_that_dies_at_any_request_is_finished_by_the_next() {
    for at in 1..REQUESTS_MAX {
        let world = World::new().await;
        let provider = world.provider();
        world.up(&provider, &options()).await.0.unwrap();
        world.way.strike(Strike::Die { at, carried_out: at % 2 == 0 });
        let ended = until_death(&world, provider.delete(NAME, &mut |_| ())).await;
        if let Some(ended) = ended {
            ended.unwrap();
            assert!(at > 10 && world.ours().await.is_empty(), "only {at} requests");
            return;
        }
        world.way.strike(Strike::Never);
        match world.provider().delete(NAME, &mut |_| ()).await {
            Ok(()) | Err(ProviderError::NotFound { .. }) => {}
            Err(error) => panic!("request {at}: {error}"),
        }
        assert!(world.ours().await.is_empty(), "request {at}");
        assert!(!world.folder.path().join(NAME).exists(), "request {at}: its keys are removed too");
    }
    panic!("more than {REQUESTS_MAX} requests");
}
