//! Callers who leave, at any moment: what was done for them is given up, and the places that they held are free.

use crate::load::canary;
use crate::origin::{Step, say};
use crate::stand::{Stand, TOKEN};
use crate::support::client::{RawClient, Request};
use crate::support::eventually::eventually;
use crate::support::h2_client::{Fields, RawH2Client};

/// Places at the upstream; there are more callers, so that some wait.
const PLACES: usize = 4;
const CALLERS: usize = 10;

/// When a caller leaves.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A part of its head was sent.
    Head,
    /// A part of its parameters was sent.
    Parameters,
    /// A part of a body that passes was sent.
    Upload,
    /// The upstream has not answered, or the caller waits for a place.
    Waiting,
    /// The upstream has answered by half.
    Answer,
    /// The upstream answers without an end.
    Endless,
}

/// How it leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Close,
    Reset,
}

const MOMENTS: [Moment; 6] =
    [Moment::Head, Moment::Parameters, Moment::Upload, Moment::Waiting, Moment::Answer, Moment::Endless];

impl Moment {
    /// What is sent before.
    fn request(self) -> Vec<u8> {
        let with_body =
            |path| Request::post(path).header("Content-Type", "application/json").header("Content-Length", "900");
        match self {
            Moment::Head => b"GET /top HTTP/1.1\r\nHost: localhost\r\nAcc".to_vec(),
            Moment::Parameters => with_body("/top").raw_body("{\"a\":").bytes(),
            Moment::Upload => with_body("/raw").raw_body("half").bytes(),
            Moment::Waiting => Request::get("/top?row=never").bytes(),
            Moment::Answer => Request::get("/top?row=half").bytes(),
            Moment::Endless => Request::get("/top?row=endless").bytes(),
        }
    }

    /// The path over HTTP/2, where there is a whole request.
    fn path(self) -> Option<&'static str> {
        match self {
            Moment::Head | Moment::Parameters | Moment::Upload => None,
            Moment::Waiting => Some("/top?row=never"),
            Moment::Answer => Some("/top?row=half"),
            Moment::Endless => Some("/top?row=endless"),
        }
    }

    /// How many of the callers the upstream works for meanwhile.
    fn playing(self) -> usize {
        match self {
            Moment::Head | Moment::Parameters | Moment::Upload => 0,
            Moment::Waiting | Moment::Answer | Moment::Endless => PLACES,
        }
    }
}

async fn stand() -> Stand {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let scripts = [
        ("never", vec![Step::Hold]),
        ("half", vec![say(format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"a\":\r\n")), Step::Hold]),
        (
            "endless",
            vec![say(format!("{head}Transfer-Encoding: chunked\r\n\r\n")), Step::Flood("8\r\n\"a\",\"b\",\r\n".into())],
        ),
    ];
    let sections = format!(
        "upstreams:
  canary: {{ url: '{{origin}}', token: '{TOKEN}' }}
  t: {{ url: '{{origin}}', token: '{TOKEN}', concurrency: {{ max: {PLACES}, queue: 100, wait: 30s }} }}
routes:
  /canary: {{ pipe: canary, upstream: canary }}
  /top: {{ pipe: top, upstream: t }}
  /raw: {{ proxy: /raw, upstream: t, methods: [POST] }}"
    );
    Stand::start(&sections, scripts.map(|(name, steps)| (name.to_owned(), steps))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_worked_for_by_nobody() {
    let stand = stand().await;
    for moment in MOMENTS {
        for leaving in [Leaving::Close, Leaving::Reset] {
            let mut callers = Vec::new();
            for _ in 0..CALLERS {
                let mut client = RawClient::connect(stand.addr).await;
                client.send(moment.request()).await;
                callers.push(client);
            }
            begun(&stand, moment).await;
            for client in callers {
                match leaving {
                    Leaving::Close => drop(client),
                    Leaving::Reset => client.abort(),
                }
            }
            assert_free(&stand, &format!("{moment:?}, {leaving:?}")).await;
        }
    }
    stand.end("callers who leave").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_over_http2_is_worked_for_by_nobody() {
    let stand = stand().await;
    for moment in MOMENTS {
        let Some(path) = moment.path() else { continue };
        for leaving in [Leaving::Close, Leaving::Reset] {
            let mut client = RawH2Client::connect(stand.addr).await;
            let mut streams = Vec::new();
            for _ in 0..CALLERS {
                let stream = client.open_stream();
                client.send_headers(stream, crate::support::h2_client::Frame::END_STREAM, &Fields::get(path)).await;
                streams.push(stream);
            }
            begun(&stand, moment).await;
            match leaving {
                Leaving::Close => drop(client),
                // The streams alone: the connection goes on.
                Leaving::Reset => {
                    for stream in streams {
                        client.send_reset(stream, 8).await;
                    }
                    assert_free(&stand, &format!("{moment:?}, streams")).await;
                    assert!(client.is_alive().await, "the connection goes on");
                }
            }
            assert_free(&stand, &format!("{moment:?}, {leaving:?}")).await;
        }
    }
    stand.end("callers who leave over HTTP/2").await;
}

/// Waits until the upstream works for as many as it may.
async fn begun(stand: &Stand, moment: Moment) {
    eventually(&format!("the upstream to begin: {moment:?}"), || stand.origin.playing().len() >= moment.playing())
        .await;
}

/// Nothing is held, and all places can be taken.
async fn assert_free(stand: &Stand, what: &str) {
    eventually(&format!("the upstream to be let go: {what}"), || stand.origin.playing().is_empty()).await;
    for gauge in ["tollgate_upstream_in_flight", "tollgate_upstream_waiting"] {
        stand.until(&format!("{gauge}{{upstream=\"t\"}}"), 0.0).await;
    }
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..PLACES {
        let addr = stand.addr;
        callers.spawn(async move { canary(&mut RawClient::connect(addr).await, "/top").await });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller panics").unwrap_or_else(|wrong| panic!("after {what}: {wrong}"));
    }
}
