//! Both sides of the inside vantage, over plain connections through a door that can be shut.

use super::inside::{AgentError, Inside};
use super::probe::serve;
use super::probe_line::Route;
use crate::clock::Clock;
use crate::probe::{Endpoint, ProbeSpec, TcpEndpoint};
use firedrill_core::sample::{Connection, Sample};
use firedrill_core::time::At;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const MS: Duration = Duration::from_millis(1);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn agent() -> (SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let (listener, address) = listener().await;
    let (end, ended) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, Duration::from_secs(60), async move { drop(ended.await) }));
    (address, end, task)
}

/// Forwards to the agent while it is open; shut, it cuts what it carries and takes no more.
async fn door(to: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let (listener, address) = listener().await;
    let open = Arc::new(AtomicBool::new(true));
    let is_open = open.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let is_open = is_open.clone();
            tokio::spawn(async move {
                if !is_open.load(Ordering::SeqCst) {
                    return;
                }
                let mut far = TcpStream::connect(to).await.unwrap();
                let mut looks = tokio::time::interval(5 * MS);
                let shut = async {
                    while is_open.load(Ordering::SeqCst) {
                        looks.tick().await;
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = shut => {}
                }
            });
        }
    });
    (address, open)
}

fn tcp(series: u16, to: SocketAddr) -> ProbeSpec {
    let (every, timeout) = (2 * MS, 100 * MS);
    ProbeSpec {
        series,
        endpoint: Endpoint::Tcp(TcpEndpoint { host: to.ip().to_string(), port: to.port() }),
        every,
        timeout,
        connection: Connection::New,
        in_flight_max: ProbeSpec::in_flight_for(every, timeout),
        blocked: false,
    }
}

async fn until(clock: &Clock, at: At) {
    tokio::time::sleep_until(clock.deadline(at)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_loses_nothing() {
    let (agent, _end, _task) = agent().await;
    let (address, open) = door(agent).await;
    let clock = Clock::start();
    let mut inside = Inside::over(Route::here(address), "node-1".to_owned(), Duration::ZERO);
    let (sink, mut samples) = mpsc::channel(100_000);
    let before = clock.now();
    inside.start(vec![tcp(3, agent), tcp(5, agent)], clock, sink).await.unwrap();
    for cut in [false, true, false, true] {
        until(&clock, clock.now().plus(300 * MS)).await;
        open.store(cut, Ordering::SeqCst);
    }
    until(&clock, clock.now().plus(100 * MS)).await;
    inside.stop_and_drain(Duration::from_secs(5)).await.unwrap();
    let after = clock.now();
    assert!(inside.failure().unwrap().borrow().is_none());
    assert!(inside.uncertainty() < 20 * MS, "{:?}", inside.uncertainty());

    let mut got: Vec<Sample> = Vec::new();
    while let Ok(sample) = samples.try_recv() {
        got.push(sample);
    }
    for series in [3, 5] {
        let own: Vec<_> = got.iter().filter(|sample| sample.series == series).collect();
        let last = own.last().unwrap().seq as usize;
        assert_eq!(own.len(), last + 1, "every attempt exactly once");
        assert!(own.iter().enumerate().all(|(seq, sample)| sample.seq as usize == seq));
        let slack = inside.uncertainty();
        assert!(own[0].started.plus(slack) >= before && own[last].ended <= after.plus(slack), "in the runner's time");
        // About 1.3 s at 2 ms; the two shut doors were within that time.
        assert!(own.len() > 400, "{}", own.len());
        let longest = own.windows(2).map(|pair| pair[1].intended.since(pair[0].intended)).max().unwrap();
        assert_eq!(longest, 2 * MS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_agent_in_its_place_is_an_error() {
    let (first, end, task) = agent().await;
    let route = Route::here(first);
    let (head, _) = route.ask(&super::probe_wire::Request::Ping, Duration::from_secs(1)).await.unwrap();
    let mut inside = Inside::over(route.of_instance(head.instance), "node-1".to_owned(), Duration::ZERO);
    let clock = Clock::start();
    let (sink, _samples) = mpsc::channel(1_000);
    inside.start(vec![tcp(0, first)], clock, sink).await.unwrap();
    until(&clock, clock.now().plus(50 * MS)).await;
    end.send(()).unwrap();
    task.await.unwrap().unwrap();
    let listener = TcpListener::bind(first).await.unwrap();
    let second = tokio::spawn(serve(listener, Duration::from_secs(60), std::future::pending()));
    // Noticed by itself, before anybody asks for the end of the probes.
    let mut failure = inside.failure().unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(5), failure.wait_for(Option::is_some)).await;
    assert!(matches!(noticed.unwrap().unwrap().as_ref(), Some(AgentError::Replaced)));
    let ended = inside.stop_and_drain(Duration::from_secs(10)).await;
    assert!(matches!(ended, Err(AgentError::Replaced)), "{ended:?}");
    second.abort();
}

#[tokio::test]
async fn an_agent_ends_by_itself() {
    let (listener, address) = listener().await;
    let clock = Clock::start();
    serve(listener, 50 * MS, std::future::pending()).await.unwrap();
    assert!(clock.now() >= At::from_ms(50));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_the_agent_cannot_do_is_said() {
    let (address, _end, _task) = agent().await;
    let inside = Inside::over(Route::here(address), "node-1".to_owned(), Duration::ZERO);
    // Nothing listens on the discard port.
    let error = inside.create_table("postgres://u:secret@127.0.0.1:9/d", "t").await.unwrap_err().to_string();
    assert!(error.contains("connecting to PostgreSQL") && !error.contains("secret"), "{error}");
    let error = inside.create_table("postgres://u:secret@127.0.0.1:9/d", "t; drop table x").await.unwrap_err();
    assert!(error.to_string().contains("not a plain table name"), "{error}");
}
