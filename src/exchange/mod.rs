//! The nouns of one request: plain data, no I/O.
//!
//! A request arrives as a [`head::RequestHead`]. Who sends it is a
//! [`caller::Caller`], and what that one may do a [`grant::Grant`]. A step that cannot let it go
//! on gives a [`refusal::Refusal`]; what the gateway answers itself is a
//! [`reply::Reply`]; what is known at the end is an [`outcome::Outcome`], and
//! what the query cost its [`statistics`].
//! What the path's captures matched are its [`captures`], what its host says
//! by its labels is read by [`host_labels`]; text that goes into a
//! URL is encoded by [`component`].
//! Not here: decisions (`pipeline`), sockets (`proxy`).

pub mod caller;
pub mod captures;
pub mod coding;
pub mod component;
pub mod grant;
pub mod head;
pub mod host_labels;
pub mod outcome;
pub mod refusal;
pub mod reply;
pub mod statistics;
pub mod usage;
