/** Signed descriptors of made-up nodes, for tests of whatever needs a directory. Seeds decide everything. */
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import { nodeIdOf } from '../../src/bytes/index.ts'
import { type SigningKey, sha256, signingKey, verifyWork } from '../../src/crypto/index.ts'
import {
  DESCRIPTOR_WORK_LABEL,
  type DescriptorClaims,
  type DirectoryRules,
  makeDescriptor,
  networkIdOf,
  workBinding,
} from '../../src/directory/index.ts'
import { FakeClock } from './fake-clock.ts'

/** Rules of a test network: the real ones with little work. */
export const TEST_RULES: DirectoryRules = { network: networkIdOf('test'), workBits: 4 }

export interface TestNode {
  readonly id: NodeId
  readonly key: SigningKey
  readonly work: Uint8Array
}

/** Node number `seed`: always the same identity. */
export function testNode(seed: number, rules: DirectoryRules = TEST_RULES): TestNode {
  const key = signingKey(sha256(Uint8Array.of(seed, seed >>> 8, seed >>> 16)))
  return { id: nodeIdOf(key.publicKey), key, work: workFor(key.publicKey, rules) }
}

function workFor(node: Uint8Array, rules: DirectoryRules): Uint8Array {
  const nonce = new Uint8Array(8)
  for (let tried = 0; ; tried++) {
    nonce[0] = tried
    nonce[1] = tried >>> 8
    nonce[2] = tried >>> 16
    if (verifyWork(DESCRIPTOR_WORK_LABEL, workBinding(rules.network, node), nonce, rules.workBits)) return nonce
  }
}

/** Plausible claims of `node`, published at the fake clock's start. */
export function testClaims(node: TestNode, change: Partial<DescriptorClaims> = {}): DescriptorClaims {
  return {
    addresses: ['/ip4/127.0.0.1/tcp/9740'],
    onion: { kid: 1, x25519: new Uint8Array(32).fill(1), mlkem768: new Uint8Array(1184).fill(2) },
    capacityClass: 3,
    storeQuotaBytes: 2 ** 30,
    publishedMs: FakeClock.START_UNIX_MS as UnixMs,
    neighbours: [],
    family: [],
    work: node.work,
    firstSeenDay: 20_000,
    ...change,
  }
}

/** A `SignedDescriptor` of `node`. */
export function testDescriptor(node: TestNode, change: Partial<DescriptorClaims> = {}): Uint8Array {
  return makeDescriptor(testClaims(node, change), TEST_RULES.network, node.key)
}
