//! Which contract the chain's rows belong to; every role may read it.

use alloy_primitives::Address;

use crate::{Deployment, Result, StoreError, pool::Handle, row::RowExt};

pub(crate) async fn read(handle: &Handle) -> Result<Option<Deployment>> {
    let mut tx = handle.begin().await?;
    let row = sqlx::query(
        "SELECT contract, code_hash, from_block FROM cofferdam.deployments WHERE chain_id = $1",
    )
    .bind(handle.chain())
    .fetch_optional(&mut *tx)
    .await
    .map_err(StoreError::database("read the deployment"))?;
    let Some(row) = row else { return Ok(None) };
    let contract = Address::try_from(row.value::<&[u8]>("contract")?);
    Ok(Some(Deployment {
        contract: contract.map_err(|_| StoreError::Corrupt { column: "contract" })?,
        code_hash: row.hash("code_hash")?,
        from_block: row.number("from_block")?,
    }))
}
