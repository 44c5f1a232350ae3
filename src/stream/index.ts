/** Public face of streams: byte flows within one loop's cells. Spec: SPEC.md §5. */
export { type ExchangeEnd, type ExchangePort, PAYLOAD_BYTES, type PayloadFlow } from './exchange.ts'
export { BACKLOG_BYTES, EXCHANGES_MAX, FrameType, PAYLOAD_FRAME_BYTES } from './frames.ts'
export { MESSAGE_BYTES_MAX, type MessageEvents, MessageReader, sendMessage } from './message.ts'
export {
  HOP_CREDIT_BYTES,
  type MuxOptions,
  ORIGIN_CREDIT_BYTES,
  ResetCode,
  STREAMS_MAX,
  StreamMux,
} from './mux.ts'
export { PAYLOAD_BEAT_MS, Pairing } from './pairing.ts'
export { type MuxStream, STREAM_CREDIT_BYTES, type StreamEvents } from './stream-state.ts'
