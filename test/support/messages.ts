/**
 * Everything of other people's that a node reads in clear: each request to it as a hop and its answer, each payload that it carries as a rendezvous
 * point, each payload that it opens as one end of a session. Nothing is changed.
 *
 * Things that do name nodes are not in it: set-up records, in which a member reads its next neighbour; the directory's gossip, in which everybody
 * is named to everybody; message 2 of a session as the service opens it, which names the rendezvous point that both have drawn; and the record as
 * its reader opens it, which names introduction points. Both may be one of the two ends, as they may be any node: it says nothing of who drew it.
 */
import { Apex } from '../../relay/index.ts'
import { Side } from '../../relay/rendezvous/meeting.ts'
import { PayloadOpener } from '../../src/service/payload.ts'
import { PAYLOAD_BYTES } from '../../src/stream/index.ts'
import { parseHopRequest } from '../../src/wire/index.ts'

/** Where it was read: `request-KIND`, `answer`, `carried`, `opened`. `bytes`: borrowed until return. */
export type MessageSeen = (where: string, bytes: Uint8Array) => void

/** Calls `seen` for each message that any node of this process reads from now on. */
export function watchMessages(seen: MessageSeen): void {
  const { answer } = Apex.prototype
  Apex.prototype.answer = async function (message, ...rest) {
    seen(`request-${parseHopRequest(message)?.kind ?? 'nothing'}`, message)
    const answered = await answer.call(this, message, ...rest)
    seen('answer', Buffer.concat(answered.body instanceof Uint8Array ? [answered.body] : answered.body))
    return answered
  }
  const { onPayload } = Side.prototype
  Side.prototype.onPayload = function (bytes, at) {
    seen('carried', bytes.subarray(at, at + PAYLOAD_BYTES))
    onPayload.call(this, bytes, at)
  }
  const { open } = PayloadOpener.prototype
  PayloadOpener.prototype.open = function (bytes, at) {
    const number = open.call(this, bytes, at)
    if (number >= 0) seen('opened', this.plain)
    return number
  }
}
