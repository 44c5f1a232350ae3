/**
 * TLS 1.3 as every link uses it, and how a peer's identity is bound to it: a fresh self-signed P-256 certificate per start, with libp2p's
 * extension in which the node's Ed25519 key signs the certificate's key (https://github.com/libp2p/specs/blob/master/tls/tls.md; the
 * certificate is made and checked by `@libp2p/tls`). TLS proves that the peer has the certificate's key, the extension whose node that is.
 * Both sides present one; nothing that a peer sends is looked at before its certificate is verified.
 *
 * What an observer sees: a ClientHello as any Node program sends it, without ALPN or server name; certificates are encrypted in TLS 1.3.
 * Key exchange: X25519MLKEM768 where both have it, so that a recording of today is of no use to a later quantum computer.
 * Records: `setMaxSendFragment` cuts them at one cell, and every write is whole cells, so that after the handshake all records have one
 * size. Tickets for resumption are off: they would be records of another size, and would tie connections of one node together.
 * Spec: SPEC.md §3.1, §3.2.
 */
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'
import { type NodeId, nodeIdOf } from '../../bytes/index.ts'
import { CELL_BYTES } from '../../cell/index.ts'
import { OverlayError } from '../../errors/index.ts'
import { nodeIdOfPeer } from './identity.ts'

/** Offered and preferred in this order. */
const GROUPS = 'X25519MLKEM768:X25519'
/** TLS 1.3 suites, in order. AES-256 first: processors have it, and it keeps its strength against a quantum search. */
const SUITES = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

/** What both roles of a handshake share. */
export async function tlsContext(identity: Ed25519PrivateKey): Promise<SecureContext> {
  const { key, cert } = await generateCertificate(identity)
  const versions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const
  const context = createSecureContext({ key, cert, ...versions, ecdhCurve: GROUPS, ciphers: SUITES })
  refuseTickets(context)
  return context
}

/** What the callback below answers: status 0 ("no ticket"), and in their places four unused values of the size that Node checks for. */
const NO_TICKET = [0, Buffer.alloc(16), Buffer.alloc(16), Buffer.alloc(16), Buffer.alloc(16)] as const

/**
 * Makes a server send no session tickets. `SSL_OP_NO_TICKET` does not do it in TLS 1.3: OpenSSL then sends stateful ones, two records of
 * 74 bytes. A ticket key callback that answers 0 does (openssl/ssl/statem/statem_srvr.c, `construct_stateless_ticket`). Node offers the
 * callback on the native context only; where it is missing, the tickets go out at the end of the handshake, before any cell.
 */
function refuseTickets({ context }: SecureContext): void {
  const native: unknown = context
  if (typeof native !== 'object' || native === null) return
  const enable: unknown = Reflect.get(native, 'enableTicketKeyCallback')
  if (typeof enable !== 'function') return
  Reflect.set(native, 'onticketkeycallback', () => NO_TICKET)
  Reflect.apply(enable, native, [])
}

/** Options of one handshake; `checkServerIdentity` and chains mean nothing here, `verifiedPeer` decides. */
export function handshakeOptions(context: SecureContext): {
  secureContext: SecureContext
  requestCert: true
  rejectUnauthorized: false
} {
  return { secureContext: context, requestCert: true, rejectUnauthorized: false }
}

/** Sets what a socket needs before the first cell. */
export function prepareForCells(socket: TLSSocket): void {
  socket.setNoDelay(true)
  if (!socket.setMaxSendFragment(CELL_BYTES)) throw new OverlayError('bug', 'INTERNAL', 'This TLS does not take the record size.')
}

/**
 * Who is at the other end of a socket whose handshake is done. Errors: `LINK_WRONG_PEER` if the certificate does not prove an Ed25519
 * node, or another than `expected`.
 */
export async function verifiedPeer(socket: TLSSocket, expected?: NodeId): Promise<NodeId> {
  const certificate: unknown = socket.getPeerCertificate().raw
  if (!(certificate instanceof Uint8Array)) throw wrongPeer('It showed no certificate.')
  const peer = await verifyPeerCertificate(certificate).catch((error: unknown) => {
    throw wrongPeer('Its certificate does not prove an identity.', error)
  })
  const id = nodeIdOfPeer(peer)
  if (id === null) throw wrongPeer('Its identity is not an Ed25519 key.')
  if (expected !== undefined && expected !== id) throw wrongPeer(`It is ${id}.`)
  return id
}

function wrongPeer(what: string, cause?: unknown): OverlayError {
  return new OverlayError('unreachable', 'LINK_WRONG_PEER', `Another node than expected answered. ${what}`, cause)
}

/** The id of the node that `identity` is. */
export function nodeIdOfKey(identity: Ed25519PrivateKey): NodeId {
  return nodeIdOf(identity.publicKey.raw)
}
