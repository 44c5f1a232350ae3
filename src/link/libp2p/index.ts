/**
 * Links over TCP with TLS 1.3 and over WebSocket. The only folder that imports libp2p; its types do not leave it.
 */
export {
  createHostOf,
  createLibp2pHost,
  type HostedLink,
  type HostLog,
  LINK_LIMITS,
  type Libp2pHostOptions,
  type LinkLimits,
} from './host.ts'
export { type Endpoint, parseAddress, withoutPeer, withPeer } from './identity.ts'
