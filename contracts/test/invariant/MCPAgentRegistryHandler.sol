// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice Acts as three tenants (two EOAs and a wallet), two agents and a stranger, rightly and wrongly,
/// and keeps a mirror of each tenant made from nothing but the contract's events.
/// @dev Every action says which tenant it may change; all others must come out of it bit by bit as they
/// went in. No action reverts: what must be refused is expected to be.
contract MCPAgentRegistryHandler is MCPAgentRegistryTest {
    /// @notice What the events say of a grant.
    struct Mirror {
        bool granted;
        uint48 notBefore;
        uint48 notAfter;
        uint48 recordedAt;
        IMCPAgentRegistry.Limits limits;
    }

    uint256 private constant TENANTS = 3;
    uint256 private constant NONE = TENANTS;
    uint256 private constant OWNER_KEY = uint256(keccak256("owner of the wallet"));

    /// @notice Set when a tenant changed that nobody with a say over it had called for.
    bool public foreignChange;

    /// @notice Set when an event left a gap, or a refusal had an effect or was not made.
    bool public broken;

    mapping(
        uint256 tenant => mapping(address to => mapping(bytes32 capability => Mirror mirror))
    ) private _mirrors;
    mapping(uint256 tenant => uint64 events) private _events;
    mapping(address to => uint64 events) private _agentEvents;

    /// @dev Grants that a tenant signed and did not post, with the nonce of the time.
    mapping(uint256 tenant => bytes signature) private _unposted;
    mapping(uint256 tenant => uint64 nonce) private _unpostedNonce;

    bytes32[TENANTS] private _tenantIds;

    constructor() {
        setUp();
        address[] memory owners = new address[](1);
        owners[0] = vm.addr(OWNER_KEY);
        _tenantIds = [aliceId, bobId, _id(address(new SafeWallet(owners, 1)))];
    }

    // --------------------------------------------------------------- actions

    /// @notice The authority grants.
    function grant(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        registry.grant(
            _tenantIds[tenant], _agent(dice), _capability(dice), _someWindow(dice), _limits(dice)
        );
        _close(before, tenant);
    }

    /// @notice The same through a relayer; now and then with the key of another tenant or the agent.
    function grantSigned(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        uint256 key = _authorityKey(tenant);
        if (dice % 4 == 0) key = _authorityKey((tenant + 1) % TENANTS);
        if (dice % 5 == 0) key = AGENT_KEY;
        bool good = key == _authorityKey(tenant);
        bytes memory signature = _signGrant(tenant, key, dice);
        bytes32[] memory before = _open();
        if (_relayGrant(tenant, dice, signature) != good) broken = true;
        _close(before, good ? tenant : NONE);
    }

    /// @notice The authority signs a grant that nobody posts yet.
    function signGrant(uint256 tenant) external {
        tenant %= TENANTS;
        _unposted[tenant] = _signGrant(tenant, _authorityKey(tenant), 0);
        _unpostedNonce[tenant] = _events[tenant];
    }

    /// @notice Somebody posts it. It is good only if nothing has happened to the tenant since.
    function postUnposted(uint256 tenant) external {
        tenant %= TENANTS;
        bool good = _unposted[tenant].length != 0 && _unpostedNonce[tenant] == _events[tenant];
        bytes32[] memory before = _open();
        if (_relayGrant(tenant, 0, _unposted[tenant]) != good) broken = true;
        _close(before, good ? tenant : NONE);
    }

    /// @notice The authority extends, if there is something to extend.
    function extend(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        Mirror storage mirror = _mirrors[tenant][_agent(dice)][_capability(dice)];
        bool good = mirror.granted && mirror.notAfter < 2 ** 47 - 1 days;
        uint48 notAfter = mirror.notAfter + 1 + uint48((dice >> 128) % 1 days);
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        try registry.extend(_tenantIds[tenant], _agent(dice), _capability(dice), notAfter) {
            if (!good) broken = true;
        } catch {
            if (good) broken = true;
        }
        _close(before, good ? tenant : NONE);
    }

    /// @notice The same through a relayer.
    function extendSigned(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        Mirror storage mirror = _mirrors[tenant][_agent(dice)][_capability(dice)];
        bool good = mirror.granted && mirror.notAfter < 2 ** 47 - 1 days;
        uint48 notAfter = mirror.notAfter + 1 + uint48((dice >> 128) % 1 days);
        bytes32 tenantId = _tenantIds[tenant];
        bytes memory message = _extendMessage(
            tenantId, _agent(dice), _capability(dice), notAfter, _events[tenant], type(uint64).max
        );
        bytes memory signature = _sign(_authorityKey(tenant), _typed(_domain(), message));
        bytes32[] memory before = _open();
        vm.prank(stranger);
        try registry.extendSigned(
            tenantId, _agent(dice), _capability(dice), notAfter, type(uint64).max, signature
        ) {
            if (!good) broken = true;
        } catch {
            if (good) broken = true;
        }
        _close(before, good ? tenant : NONE);
    }

    /// @notice The authority takes a grant back.
    function revoke(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        registry.revoke(_tenantIds[tenant], _agent(dice), _capability(dice));
        _close(before, tenant);
    }

    /// @notice The same, or for the whole agent, through a relayer.
    function revokeSigned(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bytes32 tenantId = _tenantIds[tenant];
        uint64 nonce = _events[tenant];
        bool one = dice & (1 << 64) == 0;
        bytes memory message = one
            ? _revokeMessage(tenantId, _agent(dice), _capability(dice), nonce, type(uint64).max)
            : _revokeAgentMessage(tenantId, _agent(dice), nonce, type(uint64).max);
        bytes memory signature = _sign(_authorityKey(tenant), _typed(_domain(), message));
        bytes32[] memory before = _open();
        vm.prank(stranger);
        if (one) {
            registry.revokeSigned(
                tenantId, _agent(dice), _capability(dice), type(uint64).max, signature
            );
        } else {
            registry.revokeAgentSigned(tenantId, _agent(dice), type(uint64).max, signature);
        }
        _close(before, tenant);
    }

    /// @notice The authority takes all grants of an agent back.
    function revokeAgent(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        registry.revokeAgent(_tenantIds[tenant], _agent(dice));
        _close(before, tenant);
    }

    /// @notice An agent gives a grant up, if it has one.
    function forfeit(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bool good = _mirrors[tenant][_agent(dice)][_capability(dice)].granted;
        bytes32[] memory before = _open();
        vm.prank(_agent(dice));
        try registry.forfeit(_tenantIds[tenant], _capability(dice)) {
            if (!good) broken = true;
        } catch {
            if (good) broken = true;
        }
        _close(before, good ? tenant : NONE);
    }

    /// @notice An agent describes itself.
    function describe(uint256 dice, string calldata endpoint) external {
        bytes32[] memory before = _open();
        vm.prank(_agent(dice));
        registry.describe(endpoint, bytes32(dice), address(0), dice);
        _close(before, NONE);
    }

    /// @notice An agent gives a grant up through a relayer, if it has one.
    function forfeitSigned(uint256 tenant, uint256 dice) external {
        tenant %= TENANTS;
        bool good = _mirrors[tenant][_agent(dice)][_capability(dice)].granted;
        bytes memory message = _forfeitMessage(
            _tenantIds[tenant],
            _agent(dice),
            _capability(dice),
            _agentEvents[_agent(dice)],
            type(uint64).max
        );
        bytes memory signature = _sign(_agentKey(dice), _typed(_domain(), message));
        bytes32[] memory before = _open();
        vm.prank(stranger);
        try registry.forfeitSigned(
            _tenantIds[tenant], _agent(dice), _capability(dice), type(uint64).max, signature
        ) {
            if (!good) broken = true;
        } catch {
            if (good) broken = true;
        }
        _close(before, good ? tenant : NONE);
    }

    /// @notice An agent describes itself through a relayer.
    function describeSigned(uint256 dice) external {
        address of_ = _agent(dice);
        bytes memory message = _describeMessage(
            of_,
            "",
            IMCPAgentRegistry.Description(0, bytes32(dice), address(0), dice),
            _agentEvents[of_],
            type(uint64).max
        );
        bytes memory signature = _sign(_agentKey(dice), _typed(_domain(), message));
        bytes32[] memory before = _open();
        vm.prank(stranger);
        registry.describeSigned(
            of_, "", bytes32(dice), address(0), dice, type(uint64).max, signature
        );
        _close(before, NONE);
    }

    /// @notice Everyone without a say over a tenant tries everything on it, agents of it included: an
    /// agent has a say over its own grants alone.
    function trespass(uint256 tenant, uint256 who, uint256 dice) external {
        tenant %= TENANTS;
        bytes32 tenantId = _tenantIds[tenant];
        address sender = _authority((tenant + 1 + who % (TENANTS - 1)) % TENANTS);
        if (who % 3 == 0) sender = stranger;
        if (who % 5 == 0) sender = _agent(who);
        bytes32[] memory before = _open();
        vm.startPrank(sender);
        try registry.grant(tenantId, sender, _capability(dice), _someWindow(dice), _limits(dice)) {
            broken = true;
        } catch {}
        try registry.extend(tenantId, _agent(dice), _capability(dice), 2 ** 47 - 1) {
            broken = true;
        } catch {}
        try registry.revoke(tenantId, _agent(dice), _capability(dice)) {
            broken = true;
        } catch {}
        try registry.revokeAgent(tenantId, _agent(dice)) {
            broken = true;
        } catch {}
        try registry.forfeit(tenantId, keccak256("not granted to anybody")) {
            broken = true;
        } catch {}
        try registry.forfeitSigned(
            tenantId, _agent(dice), _capability(dice), type(uint64).max, new bytes(65)
        ) {
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

    /// @notice Views and events agree about everything of the tenant.
    function mirrorAgrees(uint256 tenant) external view returns (bool) {
        if (registry.nonceOf(_tenantIds[tenant]) != _events[tenant]) return false;
        for (uint256 i = 0; i < 4; ++i) {
            if (registry.agentNonceOf(_agent(i)) != _agentEvents[_agent(i)]) return false;
            if (!_grantAgrees(tenant, _agent(i), _capability(i))) return false;
        }
        return true;
    }

    // -------------------------------------------------------------- internals

    function _grantAgrees(uint256 tenant, address to, bytes32 capability)
        private
        view
        returns (bool)
    {
        bytes32 tenantId = _tenantIds[tenant];
        Mirror memory mirror = _mirrors[tenant][to][capability];
        bool good = mirror.granted && mirror.notBefore <= block.timestamp
            && block.timestamp <= mirror.notAfter;
        if (registry.isScoped(tenantId, to, capability) != good) return false;
        try registry.scopeOf(tenantId, to, capability) returns (
            IMCPAgentRegistry.Scope memory scope
        ) {
            bytes memory limits = abi.encode(
                scope.nativeMax, scope.target, scope.selector, scope.tokenMax
            );
            return mirror.granted && scope.validAfter + 1 == mirror.notBefore
                && scope.validUntil == mirror.notAfter && scope.recordedAt == mirror.recordedAt
                && keccak256(limits) == keccak256(abi.encode(mirror.limits));
        } catch {
            return !mirror.granted;
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
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IMCPAgentRegistry.Described.selector) {
                (,,,, uint64 nonce) =
                    abi.decode(logs[i].data, (string, bytes32, address, uint256, uint64));
                _mirrorAgentNonce(address(uint160(uint256(logs[i].topics[1]))), nonce);
            } else {
                _mirror(logs[i]);
            }
        }
    }

    function _mirror(Vm.Log memory log) private {
        uint256 tenant = 0;
        while (_tenantIds[tenant] != log.topics[1]) ++tenant;
        address to = address(uint160(uint256(log.topics[2])));
        uint64 index;
        if (log.topics[0] == IMCPAgentRegistry.AgentRevoked.selector) {
            index = abi.decode(log.data, (uint64));
            delete _mirrors[tenant][to][SEND];
            delete _mirrors[tenant][to][SWAP];
        } else {
            Mirror storage mirror = _mirrors[tenant][to][log.topics[3]];
            if (log.topics[0] == IMCPAgentRegistry.Granted.selector) {
                IMCPAgentRegistry.Window memory window;
                mirror.granted = true;
                (window, mirror.limits, mirror.recordedAt, index) = abi.decode(
                    log.data, (IMCPAgentRegistry.Window, IMCPAgentRegistry.Limits, uint48, uint64)
                );
                (mirror.notBefore, mirror.notAfter) = (window.notBefore, window.notAfter);
            } else if (log.topics[0] == IMCPAgentRegistry.Extended.selector) {
                (mirror.notAfter, mirror.recordedAt, index) =
                    abi.decode(log.data, (uint48, uint48, uint64));
            } else {
                delete _mirrors[tenant][to][log.topics[3]];
                if (log.topics[0] == IMCPAgentRegistry.Forfeited.selector) {
                    uint64 nonce;
                    (index, nonce) = abi.decode(log.data, (uint64, uint64));
                    _mirrorAgentNonce(to, nonce);
                } else {
                    index = abi.decode(log.data, (uint64));
                }
            }
        }
        if (index != _events[tenant]++) broken = true;
    }

    function _mirrorAgentNonce(address to, uint64 nonce) private {
        if (nonce != _agentEvents[to]++) broken = true;
    }

    function _signGrant(uint256 tenant, uint256 key, uint256 dice)
        private
        view
        returns (bytes memory)
    {
        bytes memory message = _grantMessage(
            _tenantIds[tenant],
            _agent(dice),
            _capability(dice),
            _someWindow(dice),
            _limits(dice),
            _events[tenant],
            type(uint64).max
        );
        return _sign(key, _typed(_domain(), message));
    }

    function _relayGrant(uint256 tenant, uint256 dice, bytes memory signature)
        private
        returns (bool)
    {
        vm.prank(stranger);
        try registry.grantSigned(
            _tenantIds[tenant],
            _agent(dice),
            _capability(dice),
            _someWindow(dice),
            _limits(dice),
            type(uint64).max,
            signature
        ) {
            return true;
        } catch {
            return false;
        }
    }

    function _agent(uint256 dice) private view returns (address) {
        return dice & 1 == 0 ? agent : otherAgent;
    }

    function _agentKey(uint256 dice) private pure returns (uint256) {
        return dice & 1 == 0 ? AGENT_KEY : OTHER_AGENT_KEY;
    }

    function _capability(uint256 dice) private pure returns (bytes32) {
        return dice & 2 == 0 ? SEND : SWAP;
    }

    function _limits(uint256 dice) private pure returns (IMCPAgentRegistry.Limits memory) {
        uint256 kind = (dice >> 8) % 3;
        if (kind == 0) return _native();
        return kind == 1 ? _token() : _call();
    }

    /// @dev Windows of up to two days that begin within two days of the start.
    function _someWindow(uint256 dice) private pure returns (IMCPAgentRegistry.Window memory) {
        uint48 notBefore = START + uint48((dice >> 16) % 2 days);
        return IMCPAgentRegistry.Window(notBefore, notBefore + uint48((dice >> 80) % 2 days));
    }

    function _authority(uint256 tenant) private view returns (address) {
        return address(uint160(uint256(_tenantIds[tenant])));
    }

    function _authorityKey(uint256 tenant) private pure returns (uint256) {
        if (tenant == 0) return ALICE_KEY;
        return tenant == 1 ? BOB_KEY : OWNER_KEY;
    }
}
