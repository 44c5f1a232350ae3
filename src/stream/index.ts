/** Public face of streams: byte flows within one loop's cells. Spec: SPEC.md §5. */
export { type ExchangeEnd, type ExchangePort, PAYLOAD_BYTES, type PayloadFlow } from './exchange.ts'
export { BACKLOG_BYTES, FrameType, PAYLOAD_FRAME_BYTES } from './frames.ts'
export { MESSAGE_BYTES_MAX, type MessageEvents, MessageReader, sendMessage } from './message.ts'
export {
  HOP_CREDIT_BYTES,
  type MuxOptions,
  type MuxStream,
  ORIGIN_CREDIT_BYTES,
  ResetCode,
  STREAM_CREDIT_BYTES,
  STREAMS_MAX,
  type StreamEvents,
  StreamMux,
} from './mux.ts'
export { PAYLOAD_BEAT_MS, Pairing } from './pairing.ts'
