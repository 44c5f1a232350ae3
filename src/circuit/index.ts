/** Public face of circuits: the layered cipher, the set-up packet, the window, and the border between origin and switch. */
export { COUNTER_END, HopLayer, isRecognised, type LayerSecrets, OriginLayers, RATCHET_CELLS } from './layers.ts'
export type { OnionPublicKeys } from './onion-public.ts'
export type { CircuitEnd, Launch, LaunchedLoop, LoopEnd, LoopPort, PacedSupply } from './port.ts'
export { DelayWindow, WINDOW_CELLS_MAX } from './window.ts'
