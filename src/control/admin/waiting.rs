//! For how many replicas a caller waits. This gateway has a store of its own and is the only one
//! there is, so an answer is complete as soon as it is given; whoever asks for more is told.

use serde_json::Value;

use super::members::Members;
use super::moment::read_duration;
use super::warnings::Warning;

/// More than anybody runs.
const REPLICAS_MAX: u64 = 1_000;

/// `"all"`, or so many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    All,
    Number(u64),
}

/// Takes `wait` and `wait_timeout`.
pub(super) fn take(body: &mut Members) -> Option<Wait> {
    let asked = body.has("wait");
    let wait = match body.take("wait") {
        None => None,
        Some(Value::String(all)) if all == "all" => Some(Wait::All),
        Some(value) => {
            let number = value.as_u64().filter(|number| (1..=REPLICAS_MAX).contains(number));
            if number.is_none() {
                let detail = "Expected \"all\", or a number of replicas from 1 on.";
                body.fault("wait", "wrong_type", detail);
            }
            number.map(Wait::Number)
        }
    };
    if let Some(value) = body.take("wait_timeout") {
        let pointer = body.pointer("wait_timeout");
        if !asked {
            body.fault("wait_timeout", "nothing_to_wait_for", "It goes with \"wait\".");
        } else if let Err(fault) = read_duration(&value, &pointer) {
            body.faults.push(fault);
        }
    }
    wait
}

/// Fewer are known than were asked for.
pub(super) fn behind(wait: Option<Wait>, known: u64) -> Option<Warning> {
    let Some(Wait::Number(asked)) = wait else { return None };
    (asked > known).then(|| {
        let detail = format!(
            "It is in force on {known} of the {asked} replicas asked for: more are not known."
        );
        Warning::new("replicas_behind", Some("/wait"), detail)
    })
}
