//! HTTP/2 without TLS, prior knowledge: a right client, and one that can say what a right one refuses to.
//!
//! In: requests, or header lists and frames. Out: responses, or how the server refused.
//! Not here: TLS and ALPN, server push.

mod fields;
mod frame;
mod raw;
mod right;

pub use fields::Fields;
pub use frame::Frame;
pub use raw::H2Answer;
pub use raw::H2Outcome;
pub use raw::RawH2Client;
pub use right::H2Client;
pub use right::H2Response;
