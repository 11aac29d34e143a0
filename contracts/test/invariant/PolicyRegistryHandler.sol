// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice Acts as three tenants (two EOAs and a wallet) and a stranger, rightly and wrongly, and keeps a
/// mirror of each tenant made from nothing but the contract's events.
/// @dev Every action says which tenant it may change; all others must come out of it bit by bit as they
/// went in. No action reverts: what must be refused is expected to be.
contract PolicyRegistryHandler is PolicyRegistryTest {
    uint256 private constant TENANTS = 3;
    uint256 private constant NONE = TENANTS;
    uint256 private constant OWNER_KEY = uint256(keccak256("owner of the wallet"));

    /// @notice Set when a tenant changed that nobody with a say over it had called for.
    bool public foreignChange;

    /// @notice Set when an event left a gap, or a refusal had an effect or was not made.
    bool public broken;

    /// @dev What the events say of each version of a tenant; the first is the blank before all.
    mapping(uint256 tenant => IPolicyRegistry.Record[] records) private _mirrors;

    /// @dev Signatures that were given for a tenant and not posted, by version.
    mapping(uint256 tenant => mapping(uint64 version => bytes signature)) private _unposted;

    bytes32[TENANTS] private _tenantIds;

    constructor() {
        setUp();
        address[] memory owners = new address[](1);
        owners[0] = vm.addr(OWNER_KEY);
        _tenantIds = [aliceId, bobId, _id(address(new SafeWallet(owners, 1)))];
        for (uint256 i = 0; i < TENANTS; ++i) {
            _mirrors[i].push();
        }
    }

    // --------------------------------------------------------------- actions

    /// @notice The authority publishes.
    function publish(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bytes32[] memory before = _open();
        IPolicyRegistry.Policy memory policy = _somePolicy(dice);
        vm.prank(_authority(tenant));
        registry.publish(_tenantIds[tenant], _next(tenant), policy, uint64(block.timestamp), "");
        _close(before, tenant);
    }

    /// @notice The same through a relayer; now and then with the key of another tenant.
    function publishRelayed(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        uint256 by = dice % 4 == 0 ? (tenant + 1) % TENANTS : tenant;
        bytes memory signature = _signPublish(tenant, by, _next(tenant), _policy());
        bytes32[] memory before = _open();
        IPolicyRegistry.Policy memory policy = _policy();
        vm.prank(stranger);
        try registry.publish(
            _tenantIds[tenant], _next(tenant), policy, type(uint64).max, signature
        ) {
            if (by != tenant) broken = true;
        } catch {
            if (by == tenant) broken = true;
        }
        _close(before, by == tenant ? tenant : NONE);
    }

    /// @notice The authority revokes, and whatever it had signed and not posted is void.
    function revoke(uint256 tenant) external {
        tenant %= TENANTS;
        bytes memory signature = _signPublish(tenant, tenant, _next(tenant), _policy());
        _unposted[tenant][_next(tenant)] = signature;
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        registry.revoke(_tenantIds[tenant]);
        _close(before, tenant);
    }

    /// @notice The same through a relayer.
    function revokeRelayed(uint256 tenant) external {
        tenant %= TENANTS;
        uint64 version = _next(tenant);
        bytes32 digest = _revokeDigest(_domain(), _tenantIds[tenant], version, type(uint64).max);
        bytes memory signature = _sign(_authorityKey(tenant), digest);
        bytes32[] memory before = _open();
        vm.prank(stranger);
        registry.revokeSigned(_tenantIds[tenant], version, type(uint64).max, signature);
        _close(before, tenant);
    }

    /// @notice A stranger posts what a tenant signed before it revoked, for its version and the next.
    function postUnposted(uint256 tenant, uint64 dice) external {
        tenant %= TENANTS;
        uint64 version = 1 + dice % _next(tenant);
        bytes memory signature = _unposted[tenant][version];
        bytes32[] memory before = _open();
        IPolicyRegistry.Policy memory policy = _policy();
        vm.startPrank(stranger);
        uint64[2] memory versions = [version, _next(tenant)];
        for (uint256 i = 0; i < 2; ++i) {
            try registry.publish(
                _tenantIds[tenant], versions[i], policy, type(uint64).max, signature
            ) {
                broken = true;
            } catch {}
        }
        vm.stopPrank();
        _close(before, NONE);
    }

    /// @notice Everyone without a say over a tenant tries everything on it.
    function trespass(uint256 tenant, uint256 who, uint256 dice) external {
        tenant %= TENANTS;
        address sender = _authority((tenant + 1 + who % (TENANTS - 1)) % TENANTS);
        if (who % 3 == 0) sender = stranger;
        if (who % 5 == 0) sender = signer;
        bytes32[] memory before = _open();
        bytes32 tenantId = _tenantIds[tenant];
        IPolicyRegistry.Policy memory policy = _somePolicy(dice);
        vm.startPrank(sender);
        try registry.publish(tenantId, _next(tenant), policy, type(uint64).max, "") {
            broken = true;
        } catch {}
        try registry.revoke(tenantId) {
            broken = true;
        } catch {}
        try registry.revokeSigned(tenantId, _next(tenant), type(uint64).max, "") {
            broken = true;
        } catch {}
        vm.stopPrank();
        _close(before, NONE);
    }

    /// @notice Time passes.
    function wait(uint256 time) external {
        vm.warp(block.timestamp + time % 1 days);
    }

    // ------------------------------------------------------------------ views

    /// @notice The contract that is acted on.
    function target() external view returns (address) {
        return address(registry);
    }

    /// @notice The tenant's last version, by its events.
    function lastOf(uint256 tenant) external view returns (uint64) {
        return uint64(_mirrors[tenant].length - 1);
    }

    /// @notice Views and events agree about the tenant's versions from `first` on, and about the active
    /// one.
    function mirrorAgrees(uint256 tenant, uint64 first) external view returns (bool) {
        bytes32 tenantId = _tenantIds[tenant];
        IPolicyRegistry.Record[] storage records = _mirrors[tenant];
        uint64 last = uint64(records.length - 1);
        if (registry.versionOf(tenantId) != last) return false;
        for (uint64 version = first; version <= last; ++version) {
            if (!_same(registry.policyAt(tenantId, version), records[version])) return false;
        }
        (uint64 active, IPolicyRegistry.Record memory record) = registry.activePolicy(tenantId);
        if (records[last].verdictSigner == address(0)) {
            IPolicyRegistry.Record memory none;
            return active == 0 && _same(record, none);
        }
        return active == last && _same(record, records[last]);
    }

    /// @notice Among the tenant's last versions and the one to come, and its two signers, a verdict is
    /// taken under the active version from its signer, and no other.
    function verdictsAgree(uint256 tenant) external view returns (bool) {
        uint64 last = uint64(_mirrors[tenant].length - 1);
        address active = _mirrors[tenant][last].verdictSigner;
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.validAfter, verdict.validUntil) = (0, type(uint48).max);
        verdict.tenantId = _tenantIds[tenant];
        for (uint64 version = last == 0 ? 0 : last - 1; version <= last + 1; ++version) {
            verdict.policyVersion = version;
            bool good = version == last && active != address(0);
            if (_taken(verdict, SIGNER_KEY) != (good && active == signer)) return false;
            if (_taken(verdict, OTHER_SIGNER_KEY) != (good && active == otherSigner)) return false;
        }
        return true;
    }

    // -------------------------------------------------------------- internals

    function _taken(IPolicyRegistry.PolicyVerdict memory verdict, uint256 key)
        private
        view
        returns (bool)
    {
        try registry.verdictWindow(verdict, _signVerdict(key, verdict)) {
            return true;
        } catch {
            return false;
        }
    }

    function _open() private returns (bytes32[] memory before) {
        before = new bytes32[](TENANTS);
        for (uint256 i = 0; i < TENANTS; ++i) {
            before[i] = _state(_tenantIds[i]);
        }
        vm.recordLogs();
    }

    /// @dev Compares every tenant that may not have changed, then mirrors the events.
    function _close(bytes32[] memory before, uint256 mayChange) private {
        for (uint256 i = 0; i < TENANTS; ++i) {
            if (before[i] != _state(_tenantIds[i]) && i != mayChange) foreignChange = true;
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (logs.length != (mayChange == NONE ? 0 : 1)) broken = true;
        for (uint256 i = 0; i < logs.length; ++i) {
            uint256 tenant = 0;
            while (_tenantIds[tenant] != logs[i].topics[1]) ++tenant;
            if (uint256(logs[i].topics[2]) != _mirrors[tenant].length) broken = true;
            IPolicyRegistry.Record memory record;
            if (logs[i].topics[0] == IPolicyRegistry.PolicyPublished.selector) {
                record = abi.decode(logs[i].data, (IPolicyRegistry.Record));
            } else {
                record.recordedAt = abi.decode(logs[i].data, (uint48));
            }
            _mirrors[tenant].push(record);
        }
    }

    function _signPublish(
        uint256 tenant,
        uint256 by,
        uint64 version,
        IPolicyRegistry.Policy memory policy
    ) private view returns (bytes memory) {
        bytes32 digest = _publishDigest(
            _domain(), _tenantIds[tenant], version, policy, type(uint64).max
        );
        return _sign(_authorityKey(by), digest);
    }

    /// @dev By one of two signers, always including all times the handler can reach.
    function _somePolicy(uint256 dice) private view returns (IPolicyRegistry.Policy memory) {
        return IPolicyRegistry.Policy(
            bytes32(dice), dice % 2 == 0 ? signer : otherSigner, START, 2 ** 47 - 1
        );
    }

    function _same(IPolicyRegistry.Record memory a, IPolicyRegistry.Record memory b)
        private
        pure
        returns (bool)
    {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }

    function _next(uint256 tenant) private view returns (uint64) {
        return uint64(_mirrors[tenant].length);
    }

    function _authority(uint256 tenant) private view returns (address) {
        return address(uint160(uint256(_tenantIds[tenant])));
    }

    function _authorityKey(uint256 tenant) private pure returns (uint256) {
        if (tenant == 0) return ALICE_KEY;
        return tenant == 1 ? BOB_KEY : OWNER_KEY;
    }
}
