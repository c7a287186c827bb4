//! Step 7: the assignment goes down the line to the runner, with a grant that opens this version's blobs and this prediction's files.

use fabric::{FabricError, Line};
use protocol::wire::Assignment;

use crate::Gateway;
use crate::keys::{Attempt, GrantScope};
use crate::prediction::Admitted;
use crate::prediction::place::Placed;

pub(super) fn dispatch(gateway: &Gateway, admitted: &Admitted, placed: &Placed) -> Result<Line, FabricError> {
    let row = admitted.live.row();
    let attempt = Attempt { prediction: row.id, number: row.attempt };
    let scope = GrantScope { account: row.account_id.clone(), version: row.version, attempt: Some(attempt) };
    let assignment = Assignment {
        prediction: row.id,
        attempt: row.attempt,
        account: row.account_id,
        errand: row.errand,
        deployment: row.deployment,
        bundle: admitted.catalogued.version.bundle.clone(),
        input: row.model_input.unwrap_or(row.input),
        grant: gateway.grant(&scope),
    };
    gateway.fabric().open(&placed.runner.id, assignment)
}
