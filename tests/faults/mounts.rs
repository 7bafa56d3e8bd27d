//! A gateway that sees other files than everybody else: its own `/etc/hosts`, a disk of its own.

use std::process::Command;

/// Set by who tests where this is not allowed.
const WITHOUT_MOUNTS: &str = "TOLLGATE_WITHOUT_MOUNTS";

/// A command that runs this script of the shell where only the gateway notices, and becomes the gateway; none where it was said that the
/// machine does not allow that.
pub(crate) fn after(script: &str) -> Option<[String; 7]> {
    let own = ["--map-root-user", "--mount"];
    if std::env::var_os(WITHOUT_MOUNTS).is_some() {
        return None;
    }
    let may_mount = Command::new("unshare").args(own).arg("true").status().is_ok_and(|status| status.success());
    assert!(
        may_mount,
        "`unshare --map-root-user --mount` is not allowed here, as in many containers: allow it, or leave this test out \
         with {WITHOUT_MOUNTS}=1"
    );
    let script = format!("{script} && exec \"$@\"");
    Some(["unshare", own[0], own[1], "sh", "-c", &script, "sh"].map(str::to_owned))
}
