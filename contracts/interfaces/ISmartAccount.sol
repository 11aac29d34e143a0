// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";

/// @title ISmartAccount
/// @notice A tenant's authority: an account whose agents spend within limits, and whose people can do
/// nothing of weight alone.
///
/// There is no admin above the account and nothing to upgrade. `tenantId` is the account's address.
///
/// Who acts, each with a key of its own (that different people hold them is the operator's duty: no
/// contract can see it):
///
/// - **Agents** hold scopes in the MCPAgentRegistry. With an `ALLOW` verdict of the policy's verdict
///   signer for exactly these calls they spend within the limits, through ERC-4337 or directly. With
///   an `ESCALATE` verdict they propose.
/// - **Gates**: an approver approves what was proposed, then an authoriser authorises it, then an
///   executor executes it.
/// - The **owner** and a gate together make any change at once. One of them alone schedules a change:
///   it takes effect after `delay`, unless the guardian vetoes it.
/// - The **guardian** vetoes, freezes and narrows, and can do nothing else. Only owner and gate
///   together replace it, and that cannot be vetoed.
///
/// Changes to the registries by one principal are recorded there at once and count here only once they
/// are older than `delay`; to veto one is to revoke it (`revokePolicy`, `revokeAgent`, `revokeGrant`).
///
/// Whose key was stolen is replaced by the others, and cannot prevent it:
///
/// - the guardian: by owner and gate together, at once
/// - a gate: by owner and another gate together, at once; the only gate by the owner, after the delay
/// - the owner: by a gate, after the delay. The guardian first freezes the account and takes back
///   (`revokeAgent`, `revokePolicy`) whatever the thief has recorded to make an agent or a verdict
///   signer of the successor; while the account is frozen he can record nothing more.
///
/// So an account keeps two gates at least. Two keys lost or stolen at once can end it: a stolen guardian
/// vetoes whatever does not come from owner and gate together.
///
/// @dev EIP-712 domain (ERC-5267 `eip712Domain()` returns it): name `Cofferdam SmartAccount`, version
/// `1`, the chain's id, the account. Types:
///
/// - `Change(bytes32 tenantId,address target,bytes data,uint64 nonce,uint64 deadline)`, by owner or gate
/// - `Call(address target,uint256 value,bytes callData)`; a verdict's `callsHash` is the EIP-712 hash of
///   an array of these: `keccak256` of the calls' struct hashes, concatenated
///
/// An **authorisation** is packed bytes: `capability[32] ‖ policyVersion u64 ‖ maxFee u128 ‖ validAfter
/// u48 ‖ validUntil u48 ‖ verdict signature[65 or 64]`. The rest of the `PolicyVerdict` follows from
/// the operation. The signature of a user operation is `agent's signature of userOpHash[65] ‖
/// authorisation`; its nonce is `agent[20] ‖ lane u32 ‖ sequence u64`.
interface ISmartAccount {
    // ---------------------------------------------------------------- types

    /// @notice What a key may do. Every key has one role at most. The numbers are part of the interface.
    ///
    /// - 0 `None`, 1 `Owner` (always one), 2 `Approver`, 3 `Authoriser`, 4 `Executor`, 5 `Guardian`
    ///   (always one)
    enum Role {
        None,
        Owner,
        Approver,
        Authoriser,
        Executor,
        Guardian
    }

    /// @notice What an account starts with, and what its address commits to.
    /// @param nativePerCall Most that one call may send, in wei.
    /// @param nativePerDay Most that two neighbouring UTC days may cost together, in wei, fees included.
    /// @param delay How long one principal's change waits, in seconds: 1 hour to 30 days.
    /// @param holders One owner, one guardian, any number of gates: `role u96 ‖ address`. Packed, because
    /// a struct for each would put the creation of an account over its budget of gas.
    struct Configuration {
        uint104 nativePerCall;
        uint104 nativePerDay;
        uint24 delay;
        bytes32[] holders;
    }

    /// @notice What an agent proposed. Its hash with the tenant is the proposal's id.
    /// @param agent Who proposed it.
    /// @param capability The scope it was proposed under.
    /// @param policyVersion The policy that the verdict was reached under.
    /// @param nonce The EntryPoint nonce that the proposal consumed.
    /// @param expiry Last timestamp at which it can be executed.
    /// @param callsHash Hash of the calls.
    struct Proposal {
        address agent;
        bytes32 capability;
        uint64 policyVersion;
        uint256 nonce;
        uint48 expiry;
        bytes32 callsHash;
    }

    /// @notice How far a proposal is. The numbers are part of the interface.
    enum Stage {
        Unknown,
        Proposed,
        Approved,
        Authorised,
        Closed
    }

    // --------------------------------------------------------------- events

    /// @notice The account was created. This is its event 0.
    event Initialized(
        bytes32 indexed tenantId,
        uint64 eventIndex,
        uint104 nativePerCall,
        uint104 nativePerDay,
        uint24 delay,
        bytes32[] holders
    );

    /// @notice `holder` has `role` from now on.
    /// @param eventIndex 0, 1, 2, … without gaps over all events of the account that carry one.
    event RoleSet(bytes32 indexed tenantId, uint64 eventIndex, address holder, Role role);

    /// @notice The limit of `token` (zero: the native currency) is this from now on.
    event LimitSet(
        bytes32 indexed tenantId, uint64 eventIndex, address token, uint104 perCall, uint104 perDay
    );

    /// @notice `token` is no limited asset any more.
    event TokenUnlisted(bytes32 indexed tenantId, uint64 eventIndex, address token);

    /// @notice One principal's changes wait this long from now on, in seconds.
    event DelaySet(bytes32 indexed tenantId, uint64 eventIndex, uint24 delay);

    /// @notice The account was frozen, or is so no longer.
    event FrozenSet(bytes32 indexed tenantId, uint64 eventIndex, bool frozen);

    /// @notice One principal scheduled a change; it can be applied from `readyAt` on.
    event Scheduled(
        bytes32 indexed tenantId,
        uint64 eventIndex,
        uint64 indexed id,
        address by,
        address target,
        bytes data,
        uint48 readyAt
    );

    /// @notice The guardian vetoed a scheduled change.
    event Vetoed(bytes32 indexed tenantId, uint64 eventIndex, uint64 indexed id);

    /// @notice A scheduled change was applied.
    event Applied(bytes32 indexed tenantId, uint64 eventIndex, uint64 indexed id);

    /// @notice Owner and gate made a change at once.
    /// @param nonce The nonce this consumed.
    event ChangedTogether(
        bytes32 indexed tenantId,
        uint64 eventIndex,
        uint64 indexed nonce,
        address by,
        address cosigner,
        address target,
        bytes data
    );

    /// @notice One principal had a registry record a change, which counts here after the delay.
    event Recorded(
        bytes32 indexed tenantId, uint64 eventIndex, address by, address target, bytes data
    );

    /// @notice An owner or guardian had another contract take something back.
    event Narrowed(
        bytes32 indexed tenantId, uint64 eventIndex, address by, address target, bytes data
    );

    /// @notice An agent proposed calls.
    event Proposed(
        bytes32 indexed tenantId, uint64 eventIndex, bytes32 indexed id, Proposal proposal
    );

    /// @notice A proposal reached `stage` by the hand of `by`.
    event StageReached(
        bytes32 indexed tenantId, uint64 eventIndex, bytes32 indexed id, Stage stage, address by
    );

    /// @notice An agent made calls without the EntryPoint. (With it, `UserOperationEvent` tells.)
    event ExecutedDirectly(
        bytes32 indexed tenantId,
        uint64 eventIndex,
        address indexed agent,
        uint256 nonce,
        bytes32 callsHash
    );

    /// @notice `hash` passed the gates: it is a valid signature up to and at `until`; never when zero.
    event SignatureAllowed(bytes32 indexed tenantId, uint64 eventIndex, bytes32 hash, uint48 until);

    // --------------------------------------------------------------- errors

    /// @notice Only `expected` may call this, not `sender`.
    error SmartAccount_WrongCaller(address expected, address sender);

    /// @notice `sender` has `role`, which may not do this.
    error SmartAccount_WrongRole(address sender, Role role);

    /// @notice The configuration or the change would leave a key with two roles, or the account without
    /// owner or guardian, or with two. An account starts with one gate at least.
    error SmartAccount_BadRole(address holder, Role role);

    /// @notice A delay is 1 hour to 30 days.
    error SmartAccount_BadDelay(uint24 delay);

    /// @notice The account is frozen.
    error SmartAccount_Frozen();

    /// @notice The calls of the account are running.
    error SmartAccount_Reentered();

    /// @notice This is no ERC-7821 batch, or a part of it points outside, or it has no calls.
    error SmartAccount_BadCallData();

    /// @notice This account does not execute in `mode`.
    error SmartAccount_BadMode(bytes32 mode);

    /// @notice The authorisation is too short.
    error SmartAccount_BadAuthorisation();

    /// @notice The upper 160 bits of `nonce` are not the agent.
    error SmartAccount_ForeignNonce(uint256 nonce, address agent);

    /// @notice The next nonce in this lane is `expected`.
    error SmartAccount_WrongNonce(uint256 expected, uint256 nonce);

    /// @notice The operation may cost `fee`, and the verdict allows `maxFee`, in wei.
    error SmartAccount_OverMaxFee(uint256 maxFee, uint256 fee);

    /// @notice Verdict, policy and scope, each once it counts, have no time in common.
    error SmartAccount_NeverGood(uint48 validAfter, uint48 validUntil);

    /// @notice It is good while `validAfter < t <= validUntil`; now it is `timestamp`.
    error SmartAccount_OutsideWindow(uint48 validAfter, uint48 validUntil, uint256 timestamp);

    /// @notice The window must lie within one UTC day.
    error SmartAccount_WindowSpansDays(uint48 validAfter, uint48 validUntil);

    /// @notice Spending of `last` was recorded already, a later day.
    error SmartAccount_DayPast(uint256 day, uint256 last);

    /// @notice Call `index` may not go to `target` with `selector`.
    error SmartAccount_TargetNotAllowed(uint256 index, address target, bytes4 selector);

    /// @notice A call may spend `limit` of `asset` (zero: native) at most, not `amount`.
    error SmartAccount_OverCallLimit(address asset, uint256 limit, uint256 amount);

    /// @notice Yesterday and today `spent` of `asset` was spent; `amount` more would pass `limit`.
    error SmartAccount_OverDailyLimit(address asset, uint256 limit, uint256 spent, uint256 amount);

    /// @notice `asset` fell by `fallen`, and the calls declared `declared`.
    error SmartAccount_FellTooFar(address asset, uint256 declared, uint256 fallen);

    /// @notice `token` does not tell its balance.
    error SmartAccount_NoBalance(address token);

    /// @notice Call `index` failed; `reason` is the first 256 bytes of its answer.
    error SmartAccount_CallFailed(uint256 index, bytes reason);

    /// @notice There is no room for another limited token, or `token` is not one.
    error SmartAccount_BadToken(address token);

    /// @notice This would widen the limit or shorten the delay.
    error SmartAccount_NotNarrower();

    /// @notice Changes go to the account, its registries and AuditAnchor, and only so.
    error SmartAccount_BadChange(address target, bytes4 selector);

    /// @notice There is no such scheduled change, or whoever scheduled it has lost the role.
    error SmartAccount_NotScheduled(uint64 id);

    /// @notice The change can be applied from `readyAt` on, for 30 days.
    error SmartAccount_NotReady(uint64 id, uint48 readyAt);

    /// @notice The signature was good until `deadline`.
    error SmartAccount_Expired(uint64 deadline, uint256 timestamp);

    /// @notice The signature is not `signer`'s for `digest`.
    error SmartAccount_BadSignature(address signer, bytes32 digest);

    /// @notice The proposal is at `stage`, where this cannot be done.
    error SmartAccount_WrongStage(bytes32 id, Stage stage);

    /// @notice The proposal is past its expiry, or its policy, its scope or one of its gates is no
    /// longer what it was.
    error SmartAccount_Stale(bytes32 id);

    // ------------------------------------------------------- agents' actions

    /// @notice Proposes calls. Caller: an agent, with an `ESCALATE` verdict for them.
    /// @dev Consumes `nonce` at the EntryPoint. The proposal expires when verdict, policy or scope do.
    /// @param calls The calls.
    /// @param nonce The agent's next nonce in one of its lanes.
    /// @param authorisation See above; `maxFee` is not used.
    /// @return id The proposal's id.
    function propose(Execution[] calldata calls, uint256 nonce, bytes calldata authorisation)
        external
        returns (bytes32 id);

    // -------------------------------------------------------- gates' actions

    /// @notice Approves a proposal. Caller: an approver.
    function approve(bytes32 id) external;

    /// @notice Authorises an approved proposal. Caller: an authoriser.
    function authorise(bytes32 id) external;

    /// @notice Makes the calls of an authorised proposal. Caller: an executor.
    /// @dev The proposal is spent first. Everything it depends on is checked again: expiry, policy
    /// version, scope (which must count by now), and that approver and authoriser still hold the roles
    /// they acted in. The calls
    /// may go where agents' calls may not, but for the account itself (except to `allowSignature`), the
    /// EntryPoint, the registries, AuditAnchor and the factory. Limits do not apply to them.
    function executeProposal(Proposal calldata proposal, Execution[] calldata calls) external;

    /// @notice Closes a proposal. Caller: any role holder.
    function reject(bytes32 id) external;

    // ------------------------------------------------------------- widening

    /// @notice Makes a change at once. Callers: owner and a gate, one as sender, one by signature.
    /// @param target The account, a registry or AuditAnchor.
    /// @param data A call of one of the functions under "changes", `publish`, `grant`, `extend` or
    /// `setAnchorer`. An extension counts at once only if the grant counted already; else it waits like
    /// one principal's.
    /// @param deadline Last timestamp at which the signature is good.
    /// @param cosigner The one who signed.
    /// @param signature Its EIP-712 `Change` signature: ECDSA, or ERC-1271 if it has code.
    function changeTogether(
        address target,
        bytes calldata data,
        uint64 deadline,
        address cosigner,
        bytes calldata signature
    ) external;

    /// @notice Begins a change alone. Caller: owner or gate.
    /// @dev Changes of the registries are recorded there now and count after the delay; `id` is then
    /// zero; not while the account is frozen. All others wait here. `replaceGuardian` and
    /// `allowSignature` cannot be scheduled.
    /// @return id What `veto` and `applyScheduled` call it.
    function schedule(address target, bytes calldata data) external returns (uint64 id);

    /// @notice Applies a scheduled change once it is due. Caller: owner or gate.
    function applyScheduled(uint64 id, address target, bytes calldata data) external;

    /// @notice Strikes a scheduled change out. Caller: the guardian.
    function veto(uint64 id) external;

    // -------------------------------------------------------------- changes

    /// @notice Sets a limit. Caller: the account itself, as a change; so are all of this section.
    /// @param token The token; zero for the native currency. At most eight tokens.
    function setLimit(address token, uint104 perCall, uint104 perDay) external;

    /// @notice Makes `token` an asset without limit, which agents cannot spend and which nobody watches.
    function unlistToken(address token) external;

    /// @notice Gives `holder` a gate's role, or takes it away.
    function setGate(address holder, Role role) external;

    /// @notice Gives owner's or gate's role of `holder` to `successor`.
    function replaceHolder(address holder, address successor) external;

    /// @notice Gives the guardian's role of `guardian` to `successor`. Only as a change together.
    function replaceGuardian(address guardian, address successor) external;

    /// @notice Sets the delay.
    function setDelay(uint24 delay) external;

    /// @notice Unfreezes the account.
    function unfreeze() external;

    /// @notice Accepts `hash` as signed up to and at `until`. Only as a call of a proposal.
    function allowSignature(bytes32 hash, uint48 until) external;

    // ------------------------------------------------------------ narrowing

    /// @notice Freezes the account: no calls, no signatures, nothing recorded by one principal alone.
    /// Caller: owner, guardian or gate.
    function freeze() external;

    /// @notice Lowers a limit. Caller: owner or guardian; so are all of this section from here on.
    function lowerLimit(address token, uint104 perCall, uint104 perDay) external;

    /// @notice Lengthens the delay.
    function lengthenDelay(uint24 delay) external;

    /// @notice Takes back a signature that had passed the gates.
    function disallowSignature(bytes32 hash) external;

    /// @notice Revokes the active policy.
    function revokePolicy() external;

    /// @notice Revokes one grant.
    function revokeGrant(address agent, bytes32 capability) external;

    /// @notice Revokes every grant of `agent`, whose key may have a role afterwards.
    function revokeAgent(address agent) external;

    /// @notice Leaves the tenant without anchorer.
    function revokeAnchorer() external;

    /// @notice Takes `amount` wei of the EntryPoint deposit back into the account.
    function withdrawDeposit(uint256 amount) external;

    /// @notice Gives up the sender's own gate role. Caller: a gate.
    /// @dev No key takes another's role at once: one that could strip all gates would, once stolen,
    /// leave nobody to make a change with, and lock the account for ever.
    function renounce() external;

    // ---------------------------------------------------------------- views

    /// @notice The one EntryPoint.
    function entryPoint() external view returns (address);

    /// @notice The role of `holder`, and how often it was changed.
    function roleOf(address holder) external view returns (Role role, uint64 epoch);

    /// @notice How long one principal's change waits, and whether the account is frozen.
    function settings() external view returns (uint24 delay, bool frozen);

    /// @notice The limit of `token`; zero for the native currency.
    function limitOf(address token)
        external
        view
        returns (uint104 perCall, uint104 perDay, bool listed);

    /// @notice What was reserved of `token` on UTC day `day` and the day before, when `day` is not
    /// before the last reservation.
    function spentOf(address token, uint256 day)
        external
        view
        returns (uint256 yesterday, uint256 today);

    /// @notice The limited tokens.
    function limitedTokens() external view returns (address[] memory);

    /// @notice The nonce of the next change together, and the index of the next event.
    function counters() external view returns (uint64 nextChange, uint64 nextEvent);

    /// @notice How far a proposal is.
    function stageOf(bytes32 id) external view returns (Stage);

    /// @notice The id of a proposal.
    function proposalId(Proposal calldata proposal) external view returns (bytes32);
}
