//! Policies that tenants signed and handed in, until they are final on the chain.
//!
//! A submission *waits* until its event is mirrored, or until it *fails*: something else has its version,
//! its deadline has passed, or the registry refuses it. Those that were to follow it fail with it, since the
//! tenant signed them for after it. What failed may be handed in again.

use alloy_primitives::{Address, B256, Bytes};
use cofferdam_core::{
    PolicyVersion, TenantId,
    mirror::{LogPosition, Row, Value},
};
use sqlx::{Postgres, Transaction, postgres::PgRow};

use crate::{
    Result, Sealer, Sequencer, StoreError, TenantTx, incidents,
    lease::hold,
    row::{RowExt, bigint, words},
};

/// What a policy says, as far as a chain is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyTerms {
    /// The keccak256 of its document.
    pub policy_hash: B256,
    /// The key whose verdicts count under it.
    pub verdict_signer: Address,
    /// From when it is good, in Unix seconds.
    pub not_before: u64,
    /// Until when it is good, in Unix seconds.
    pub not_after: u64,
}

/// A policy that a tenant signed and handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Whose.
    pub tenant: TenantId,
    /// The version that it consumes.
    pub version: PolicyVersion,
    /// What it says.
    pub terms: PolicyTerms,
    /// The last block time at which it can be published, in Unix seconds.
    pub deadline: u64,
    /// The authority's signature of all that, as the registry takes it.
    pub signature: Bytes,
}

/// What handing in a policy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitPolicy {
    /// It waits to be published.
    Submitted,
    /// The same was handed in before.
    AlreadyThere,
}

/// A submission that waits, the first of its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPolicy {
    /// Which one.
    pub submission: Submission,
    /// Whether a transaction of ours may still publish it, or has.
    pub under_way: bool,
    /// How many of our transactions reverted since it was handed in.
    pub reverted: u64,
}

/// How far a submission has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyStage {
    /// Handed in.
    Submitted,
    /// In a transaction that was recorded.
    Posted,
    /// Published in a block that is mirrored.
    Included,
    /// Published in a safe block.
    Safe,
    /// Published in a final block.
    Final,
    /// It will not be published, and why not.
    Failed(String),
}

/// What the registry has at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublishedPolicy {
    pub(crate) tenant: TenantId,
    pub(crate) version: PolicyVersion,
    /// None of a revocation.
    pub(crate) terms: Option<PolicyTerms>,
    pub(crate) position: LogPosition,
}

/// What was handed in for the version that an event consumes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) terms: PolicyTerms,
    pub(crate) failed: bool,
}

macro_rules! submission_columns {
    () => {
        "s.tenant_id, s.version, s.policy_hash, s.verdict_signer, s.not_before, s.not_after, \
         s.deadline::text AS deadline, s.signature"
    };
}

impl Sequencer {
    /// Keeps a policy that was verified, for the daemon to publish. One that failed may be replaced; one
    /// that waits or was published is [`StoreError::PolicyTaken`], unless it is the same.
    pub async fn submit_policy(&self, policy: &Submission) -> Result<SubmitPolicy> {
        let doing = "keep a policy";
        let Submission { tenant, version, terms, deadline, signature } = policy;
        let mut scoped = TenantTx::open(&self.handle, *tenant).await?;
        let written = sqlx::query(
            "INSERT INTO cofferdam.policy_submissions AS s (tenant_id, chain_id, version, policy_hash, \
                 verdict_signer, not_before, not_after, deadline, signature) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9) \
             ON CONFLICT (tenant_id, chain_id, version) DO UPDATE SET policy_hash = excluded.policy_hash, \
                 verdict_signer = excluded.verdict_signer, not_before = excluded.not_before, \
                 not_after = excluded.not_after, deadline = excluded.deadline, \
                 signature = excluded.signature, submitted_at = now(), failed = NULL \
             WHERE s.failed IS NOT NULL",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(bigint(version.get(), "policy version")?)
        .bind(terms.policy_hash.as_slice())
        .bind(terms.verdict_signer.as_slice())
        .bind(bigint(terms.not_before, "the policy's window")?)
        .bind(bigint(terms.not_after, "the policy's window")?)
        .bind(deadline.to_string())
        .bind(signature.as_ref())
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database(doing))?;
        if written.rows_affected() == 1 {
            scoped.commit().await?;
            return Ok(SubmitPolicy::Submitted);
        }
        let row = sqlx::query(concat!(
            "SELECT ",
            submission_columns!(),
            " FROM cofferdam.policy_submissions s \
             WHERE s.tenant_id = $1 AND s.chain_id = $2 AND s.version = $3"
        ))
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(bigint(version.get(), "policy version")?)
        .fetch_one(&mut *scoped.tx)
        .await
        .map_err(StoreError::database(doing))?;
        let known = submission(&row)?;
        if (known.terms, known.deadline) == (*terms, *deadline) {
            return Ok(SubmitPolicy::AlreadyThere);
        }
        let policy_hash = known.terms.policy_hash;
        Err(StoreError::PolicyTaken { tenant: *tenant, version: *version, policy_hash })
    }

    /// The versions of a tenant's policies that wait to be published, in order.
    pub async fn waiting_policies(&self, tenant: TenantId) -> Result<Vec<PolicyVersion>> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let rows = sqlx::query(
            "SELECT version FROM cofferdam.policy_submissions WHERE tenant_id = $1 AND chain_id = $2 \
                 AND block_number IS NULL AND failed IS NULL ORDER BY version",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .fetch_all(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("read the policies that wait"))?;
        rows.iter().map(|row| Ok(PolicyVersion(row.number("version")?))).collect()
    }
}

impl Sealer {
    /// The first waiting policy of every tenant that is not halted, the oldest first.
    pub async fn waiting_policies(
        &self,
        limit: u32,
        passed: &[TenantId],
    ) -> Result<Vec<WaitingPolicy>> {
        let passed: Vec<_> = passed.iter().map(|tenant| tenant.as_b256().0).collect();
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            submission_columns!(),
            ", EXISTS (SELECT FROM cofferdam.policy_postings p JOIN cofferdam.transactions t \
                 ON t.chain_id = p.chain_id AND t.tx_hash = p.intent AND t.intent = p.intent \
                 WHERE p.tenant_id = s.tenant_id AND p.chain_id = s.chain_id AND p.version = s.version \
                     AND (p.published IS NULL OR p.published AND NOT t.settled)) AS under_way, \
             (SELECT count(p.gas) FROM cofferdam.policy_postings p JOIN cofferdam.transactions t \
                 ON t.chain_id = p.chain_id AND t.tx_hash = p.intent AND t.intent = p.intent \
                 WHERE p.tenant_id = s.tenant_id AND p.chain_id = s.chain_id AND p.version = s.version \
                     AND NOT p.published AND t.sent_at >= s.submitted_at) AS reverted \
             FROM cofferdam.policy_submissions s \
             JOIN cofferdam.heads h USING (tenant_id, chain_id) \
             WHERE s.chain_id = $1 AND s.block_number IS NULL AND s.failed IS NULL \
                 AND h.halted IS NULL AND s.tenant_id <> ALL ($3) \
                 AND NOT EXISTS (SELECT FROM cofferdam.policy_submissions o \
                     WHERE o.tenant_id = s.tenant_id AND o.chain_id = s.chain_id \
                     AND o.version < s.version AND o.block_number IS NULL AND o.failed IS NULL) \
             ORDER BY s.submitted_at, s.tenant_id LIMIT $2"
        ))
        .bind(self.handle.chain())
        .bind(i64::from(limit))
        .bind(passed)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the policies that wait"))?;
        rows.iter()
            .map(|row| {
                Ok(WaitingPolicy {
                    submission: submission(row)?,
                    under_way: row.value("under_way")?,
                    reverted: row.number("reverted")?,
                })
            })
            .collect()
    }

    /// Gives up a policy that waits, and those that were to follow it, and writes an incident. `detail` says
    /// why, without any field's value.
    pub async fn fail_policy(&self, policy: &Submission, kind: &str, detail: &str) -> Result<()> {
        let (tenant, version) = (policy.tenant, policy.version);
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let chain = scoped.chain();
        hold(&mut scoped.tx, chain, self.epoch).await?;
        report(&mut scoped.tx, chain, tenant, version, kind, detail).await?;
        scoped.commit().await
    }

    /// Compares a policy that waits with what is mirrored at its version, if anything is: it was handed in
    /// while the mirror wrote that. Whether anything is.
    pub async fn meet_mirrored(&self, policy: &Submission) -> Result<bool> {
        let mut scoped = TenantTx::open(&self.handle, policy.tenant).await?;
        let chain = scoped.chain();
        hold(&mut scoped.tx, chain, self.epoch).await?;
        let row = sqlx::query(
            "SELECT policy_hash, verdict_signer, not_before, not_after, kind = 'PolicyPublished' AS published, \
                 block_number, block_hash, tx_hash, log_index FROM cofferdam.policies \
             WHERE tenant_id = $1 AND chain_id = $2 AND version = $3",
        )
        .bind(policy.tenant.as_b256().as_slice())
        .bind(chain)
        .bind(bigint(policy.version.get(), "policy version")?)
        .fetch_optional(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("read a mirrored policy"))?;
        let Some(row) = row else { return Ok(false) };
        let published = PublishedPolicy {
            tenant: policy.tenant,
            version: policy.version,
            terms: if row.value("published")? { Some(terms(&row)?) } else { None },
            position: crate::tenant_tx::position(&row)?,
        };
        let known = Known { terms: policy.terms, failed: false };
        meet(&mut scoped.tx, chain, &published, Some(known)).await?;
        scoped.commit().await?;
        Ok(true)
    }

    /// Every tenant's policies that are not final yet, and its last one, by tenant and version.
    pub async fn policies(&self) -> Result<Vec<(Submission, PolicyStage)>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            submission_columns!(),
            ", s.failed, CASE WHEN s.failed IS NOT NULL THEN 'failed' \
                 WHEN s.block_number <= f.final THEN 'final' WHEN s.block_number <= f.safe THEN 'safe' \
                 WHEN s.block_number IS NOT NULL THEN 'included' \
                 WHEN EXISTS (SELECT FROM cofferdam.policy_postings p \
                     WHERE p.tenant_id = s.tenant_id AND p.chain_id = s.chain_id \
                         AND p.version = s.version AND p.published IS DISTINCT FROM false) THEN 'posted' \
                 ELSE 'submitted' END AS stage \
             FROM cofferdam.policy_submissions s LEFT JOIN cofferdam.finality f USING (chain_id) \
             WHERE s.chain_id = $1 AND NOT ((s.failed IS NOT NULL OR s.block_number <= f.final) \
                 AND EXISTS (SELECT FROM cofferdam.policy_submissions n \
                     WHERE n.tenant_id = s.tenant_id AND n.chain_id = s.chain_id \
                         AND n.version > s.version AND n.block_number IS NOT NULL)) \
             ORDER BY s.tenant_id, s.version"
        ))
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read how far policies have come"))?;
        rows.iter()
            .map(|row| {
                let stage = match row.value("stage")? {
                    "failed" => PolicyStage::Failed(row.value("failed")?),
                    "final" => PolicyStage::Final,
                    "safe" => PolicyStage::Safe,
                    "included" => PolicyStage::Included,
                    "posted" => PolicyStage::Posted,
                    _ => PolicyStage::Submitted,
                };
                Ok((submission(row)?, stage))
            })
            .collect()
    }
}

/// Compares what the registry has at a version with what was handed in for it: the same confirms it,
/// whoever published it. What differs, and what nobody handed in, is an incident; then true.
pub(crate) async fn meet(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    event: &PublishedPolicy,
    known: Option<Known>,
) -> Result<bool> {
    let PublishedPolicy { tenant, version, terms, position } = *event;
    if known.is_some_and(|known| Some(known.terms) == terms) {
        confirm(tx, chain, tenant, version, position).await?;
        return Ok(false);
    }
    let waits = known.filter(|known| !known.failed);
    let (kind, detail) = match (terms, waits) {
        (Some(published), Some(ours)) => (
            "different-policy",
            format!(
                "version {version} was published with {}, and handed in here with {}",
                told(&published),
                told(&ours.terms)
            ),
        ),
        (None, Some(ours)) => (
            "different-policy",
            format!(
                "version {version} is a revocation, and was handed in here with {}",
                told(&ours.terms)
            ),
        ),
        (Some(published), None) => (
            "unknown-policy",
            format!("version {version} with {} was not handed in here", told(&published)),
        ),
        // Whoever takes a policy back is not to be held up, and leaves nothing that could harm.
        (None, None) => return Ok(false),
    };
    report(tx, chain, tenant, version, kind, &detail).await?;
    Ok(true)
}

async fn confirm(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    tenant: TenantId,
    version: PolicyVersion,
    at: LogPosition,
) -> Result<()> {
    sqlx::query(
        "UPDATE cofferdam.policy_submissions SET failed = NULL, block_number = $4, block_hash = $5, \
             tx_hash = $6 WHERE tenant_id = $1 AND chain_id = $2 AND version = $3",
    )
    .bind(tenant.as_b256().as_slice())
    .bind(chain)
    .bind(bigint(version.get(), "policy version")?)
    .bind(bigint(at.block_number, "block number")?)
    .bind(at.block_hash.as_slice())
    .bind(at.tx_hash.as_slice())
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database("confirm a policy"))?;
    tracing::info!(%tenant, %version, "policy published");
    Ok(())
}

/// Writes an incident, and gives up what waits for this version or a later one.
async fn report(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    tenant: TenantId,
    version: PolicyVersion,
    kind: &str,
    detail: &str,
) -> Result<()> {
    // It may quote what a contract of somebody's answered.
    let detail = &words(detail);
    let after = format!("it was to follow version {version}, of which: {detail}");
    sqlx::query(
        "UPDATE cofferdam.policy_submissions \
         SET failed = left(CASE WHEN version = $3 THEN $4 ELSE $5 END, 1000) \
         WHERE tenant_id = $1 AND chain_id = $2 AND version >= $3 AND block_number IS NULL \
             AND failed IS NULL",
    )
    .bind(tenant.as_b256().as_slice())
    .bind(chain)
    .bind(bigint(version.get(), "policy version")?)
    .bind(detail)
    .bind(after)
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database("give up a policy"))?;
    incidents::write(tx, chain, Some(tenant), kind, detail).await?;
    tracing::error!(%tenant, %version, kind, detail, "policy incident");
    Ok(())
}

fn told(terms: &PolicyTerms) -> String {
    let PolicyTerms { policy_hash, verdict_signer, not_before, not_after } = terms;
    format!(
        "document {policy_hash}, verdict signer {verdict_signer}, good from {not_before} until {not_after}"
    )
}

fn submission(row: &PgRow) -> Result<Submission> {
    let deadline = row.value::<String>("deadline")?.parse();
    Ok(Submission {
        tenant: row.tenant()?,
        version: PolicyVersion(row.number("version")?),
        terms: terms(row)?,
        deadline: deadline.map_err(|_| StoreError::Corrupt { column: "deadline" })?,
        signature: row.value::<Vec<u8>>("signature")?.into(),
    })
}

pub(crate) fn terms(row: &PgRow) -> Result<PolicyTerms> {
    let signer = Address::try_from(row.value::<&[u8]>("verdict_signer")?);
    Ok(PolicyTerms {
        policy_hash: row.hash("policy_hash")?,
        verdict_signer: signer.map_err(|_| StoreError::Corrupt { column: "verdict_signer" })?,
        not_before: row.number("not_before")?,
        not_after: row.number("not_after")?,
    })
}

impl TryFrom<&Row> for PublishedPolicy {
    type Error = StoreError;

    fn try_from(row: &Row) -> Result<Self> {
        let (version, terms) = match row.values[..] {
            [
                Value::Int(version),
                Value::Word(policy_hash),
                Value::Address(verdict_signer),
                Value::Int(not_before),
                Value::Int(not_after),
                Value::Int(_),
            ] => {
                (version, Some(PolicyTerms { policy_hash, verdict_signer, not_before, not_after }))
            }
            [Value::Int(version), Value::Int(_)] => (version, None),
            _ => return Err(StoreError::Corrupt { column: "version" }),
        };
        Ok(Self {
            tenant: row.tenant_id().ok_or(StoreError::Corrupt { column: "tenant_id" })?,
            version: PolicyVersion(version),
            terms,
            position: row.position,
        })
    }
}
