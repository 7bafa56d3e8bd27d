//! Any text as a request's target and host: what comes out stays what it is when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::exchange::head::{normalise_host, normalise_path, split_target};

fuzz_target!(|text: &str| {
    if let Ok((path, _query)) = split_target(text) {
        assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\0'), "{path:?}");
        assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path:?}");
    }
    let _ = normalise_path(text);
    if let Ok(host) = normalise_host(text) {
        assert_eq!(normalise_host(&host), Ok(host));
    }
});
