//! Hooks that never wait.
//!
//! In: what a hook does. Out: the hook, in the form that Pingora calls. Not here:
//! hooks that may wait (`super`, with `async_trait`).
//!
//! Pingora's hooks are futures in boxes, one after the other, a dozen for each
//! request. What is done before a box is made needs nothing in it: a box of
//! nothing takes no memory, and is not moved.

use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use pingora::Result;

/// What `async_trait` makes of a hook.
pub(super) type Hook<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a hook that has been called.
pub(super) trait Settled: Send + Sized + 'static {
    /// It, as Pingora wants it.
    fn settled<'a>(self) -> Hook<'a, Self>;
}

impl Settled for () {
    fn settled<'a>(self) -> Hook<'a, ()> {
        Box::pin(Nothing)
    }
}

impl Settled for Result<()> {
    fn settled<'a>(self) -> Hook<'a, Result<()>> {
        match self {
            Ok(()) => Box::pin(Fine),
            failed @ Err(_) => Box::pin(ready(failed)),
        }
    }
}

/// That a request goes on to the upstream.
pub(super) fn goes_on<'a>() -> Hook<'a, Result<bool>> {
    Box::pin(GoesOn)
}

/// Writes hooks that never wait, with the lifetimes that `async_trait` gives the ones that do: one for each reference among
/// the arguments, in their order.
macro_rules! at_once {
    ($(fn $name:ident<$($life:lifetime),+>(&$this:ident, $($argument:ident: $type:ty),+ $(,)?) -> $result:ty $body:block)+) => {
        $(fn $name<'this, $($life,)+ 'hook>(&'this $this, $($argument: $type),+) -> $crate::proxy::at_once::Hook<'hook, $result>
        where
            'this: 'hook,
            $($life: 'hook,)+
        {
            let result: $result = $body;
            $crate::proxy::at_once::Settled::settled(result)
        })+
    };
}
pub(super) use at_once;

struct Nothing;
struct Fine;
struct GoesOn;

impl Future for Nothing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Future for Fine {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Future for GoesOn {
    type Output = Result<bool>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<bool>> {
        Poll::Ready(Ok(true))
    }
}
