//! A DNS server: every name has the address 127.0.0.1, but for those below `nowhere.example`, which do not exist. TXT records
//! are files of a folder, named as the record, one value in each line.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

const A: u16 = 1;
const TXT: u16 = 16;

pub struct Dns {
    folder: Arc<TempDir>,
    address: SocketAddr,
}

impl Dns {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let records = folder.path().to_owned();
        thread::spawn(move || {
            let mut query = [0; 1500];
            // Ends with the test program.
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = query.get(..length).and_then(|query| answer(query, &records)) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Dns { folder, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where TXT records stand.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn answer(query: &[u8], records: &Path) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let name = labels.join(".");
    let exists = !name.ends_with("nowhere.example");
    let values: Vec<Vec<u8>> = match kind {
        A if exists => vec![vec![127, 0, 0, 1]],
        TXT => fs::read_to_string(records.join(&name)).unwrap_or_default().lines().map(text).collect(),
        _ => Vec::new(),
    };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x85, if exists { 0x80 } else { 0x83 }, 0, 1, 0, u8::try_from(values.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(question);
    for value in values {
        // The name of the question, the class IN, and no time to be remembered.
        answer.extend([0xC0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 0]);
        answer.extend(u16::try_from(value.len()).ok()?.to_be_bytes());
        answer.extend(value);
    }
    Some(answer)
}

fn text(value: &str) -> Vec<u8> {
    let mut text = vec![u8::try_from(value.len()).unwrap_or(u8::MAX)];
    text.extend(value.bytes());
    text
}
