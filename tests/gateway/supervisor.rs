//! What systemd is told (sd_notify(3)), over a real socket.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tokio::net::TcpStream;

use crate::support::eventually::{eventually, eventually_async};
use crate::support::process::Process;
use crate::support::watched::PATIENCE;

const CONFIG: &str = "listeners: [{ address: 127.0.0.1:0 }]
admin: { address: 127.0.0.1:0 }
state: { dir: state }
upstreams: { t: { url: 'http://127.0.0.1:9' } }
routes: { /a: { pipe: a } }
";

/// A socket as a supervisor has it.
struct Ear(UnixDatagram);

impl Ear {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Ear(socket)
    }

    /// The next message.
    fn hear(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a message within the time");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }
}

/// Since the machine was started, in microseconds: as `CLOCK_MONOTONIC`, and the time that the machine slept.
fn uptime() -> u128 {
    let text = std::fs::read_to_string("/proc/uptime").expect("Linux");
    let seconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    // It is cut after the second digit.
    (seconds * 1e6) as u128 + 10_000
}

#[tokio::test]
async fn a_supervisor_hears_of_the_start_of_reloads_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear::new(UnixDatagram::bind(&path).unwrap());
    let mut process = Process::run_in(CONFIG, [("NOTIFY_SOCKET", path.as_os_str())]);
    assert_eq!(ear.hear(), "READY=1\nSTATUS=Serving");
    eventually("the gateway to say where it listens", || process.stderr().contains("health and metrics on")).await;
    assert!(TcpStream::connect(process.addr()).await.is_ok(), "it is open when it says so");

    process.signal("HUP");
    let message = ear.hear();
    let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.split_once('\n'));
    let (micros, status) = micros.unwrap_or_else(|| panic!("{message}"));
    assert_eq!(status, "STATUS=Reloading");
    let micros: u128 = micros.parse().unwrap();
    let now = uptime();
    assert!(micros > 0 && micros <= now, "{micros} of {now}");
    assert_eq!(ear.hear(), "READY=1\nSTATUS=Serving");

    // What fails is over, too, and whoever asks systemd sees that it failed.
    std::fs::write(process.folder().join("test.yaml"), "routes: 1\n").unwrap();
    process.signal("HUP");
    assert!(ear.hear().starts_with("RELOADING=1\n"));
    let message = ear.hear();
    assert!(message.starts_with("READY=1\nSTATUS=Serving the configuration from before the last reload, which failed"));

    process.signal("TERM");
    assert_eq!(ear.hear(), "STOPPING=1\nSTATUS=Finishing the requests under way");
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_supervisor_may_have_an_address_without_a_file() {
    let name = format!("tollgate-test-{}", std::process::id());
    let ear = Ear::new(UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap());
    let _process = Process::run_in(CONFIG, [("NOTIFY_SOCKET", OsString::from(format!("@{name}")).as_os_str())]);
    assert_eq!(ear.hear(), "READY=1\nSTATUS=Serving");
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_told_keeps_nobody_from_being_served() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody-listens");
    let process = Process::run_in(CONFIG, [("NOTIFY_SOCKET", nobody.as_os_str())]);
    eventually("a word about it", || process.stderr().contains("NOTIFY_SOCKET")).await;
    eventually("the gateway to say where it listens", || process.stderr().contains("health and metrics on")).await;
    eventually_async("it to serve", || async { TcpStream::connect(process.addr()).await.is_ok() }).await;
}
