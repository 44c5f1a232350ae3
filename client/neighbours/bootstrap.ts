/**
 * Where a newcomer first asks: multiaddrs that name the node they lead to. Without a name anybody who answers could be taken for the
 * bootstrap node, so an address without /p2p is an error of configuration. Pure. Spec: SPEC.md §6.4.
 */
import { type NodeId, nodeIdOf, parseNodeId } from '../../src/bytes/index.ts'
import { OverlayError } from '../../src/errors/index.ts'

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
/** A libp2p peer id of an Ed25519 key: identity multihash (2 bytes) of a protobuf of key type and key (4 bytes), then the key. */
const PEER_ID_PREFIX = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20] as const
const PEER_ID_BYTES = 38
/** Characters that a peer id can have; bounds the conversion. */
const PEER_ID_CHARACTERS_MAX = 64

export interface BootstrapNode {
  readonly id: NodeId
  readonly addresses: readonly string[]
}

/** The nodes of a list of multiaddrs, addresses of one node together, without `self`. Errors: `CONFIG_BAD`. */
export function bootstrapNodes(texts: readonly string[], self: NodeId): readonly BootstrapNode[] {
  const nodes = new Map<NodeId, string[]>()
  for (const text of texts) {
    const at = text.lastIndexOf('/p2p/')
    const id = at < 0 ? null : peerOf(text.slice(at + '/p2p/'.length))
    if (id === null) {
      throw new OverlayError(
        'config',
        'CONFIG_BAD',
        `The bootstrap address ${text} does not end in /p2p/ and the id of its node.`,
      )
    }
    if (id === self) continue
    const known = nodes.get(id)
    if (known) known.push(text)
    else nodes.set(id, [text])
  }
  return Array.from(nodes, ([id, addresses]) => ({ id, addresses }))
}

/** The node that a /p2p part names: 64 hex characters, or a libp2p peer id (`12D3KooW…`). */
function peerOf(name: string): NodeId | null {
  const plain = parseNodeId(name)
  if (plain !== null || name.length === 0 || name.length > PEER_ID_CHARACTERS_MAX) return plain
  const bytes = fromBase58(name)
  if (bytes === null || bytes.length !== PEER_ID_BYTES || !PEER_ID_PREFIX.every((byte, at) => bytes[at] === byte)) return null
  return nodeIdOf(bytes.subarray(PEER_ID_PREFIX.length))
}

/** Base58 as in Bitcoin and multibase `z`: big-endian, a leading `1` for each leading zero byte. */
function fromBase58(text: string): Uint8Array | null {
  const zeros = /^1*/.exec(text)![0].length
  const bytes: number[] = []
  for (const character of text) {
    let carry = BASE58.indexOf(character)
    if (carry < 0) return null
    for (let at = 0; at < bytes.length; at++) {
      carry += bytes[at]! * 58
      bytes[at] = carry & 255
      carry >>>= 8
    }
    while (carry > 0) {
      bytes.push(carry & 255)
      carry >>>= 8
    }
  }
  return Uint8Array.from([...new Array<number>(zeros).fill(0), ...bytes.reverse()])
}
