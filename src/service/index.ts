/** Public face of a live service's end-to-end part: handshake, payloads, session. Pure state machines. Spec: SPEC.md §11.4 to §11.6. */
export { ClientHandshake, type ClientHandshakeOptions } from './client-handshake.ts'
export { ANSWER_BYTES, HELLO_BYTES, MEETING_BYTES, MET_BYTES, OFFERED_MAX } from './constants.ts'
export { introductionPointName } from './introduction-point.ts'
export { ServiceHandshakes, type ServiceHandshakesParts } from './service-handshake.ts'
export { RESUME_MS, SESSION_STREAMS_MAX, Session, type SessionOptions, SLOW_PATIENCE } from './session.ts'
export {
  type DetachReason,
  type Drawn,
  type Established,
  type Greeted,
  type MayMeetAt,
  type Met,
  type PreparedExchange,
  type ServiceIdentity,
  type ServiceKeys,
  type ServiceSession,
  type SessionEnd,
  type SessionEvents,
  type SessionFigures,
  type SessionStream,
  type SessionStreamEvents,
  type SessionTicket,
  StreamReset,
  type TrafficKeys,
} from './types.ts'
export { findIntroductionWork, introductionBinding, introductionWork } from './work.ts'
