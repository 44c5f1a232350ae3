/** The proxies of a node: publications and live services for any program, and no way to the open internet. */
export { isolationFrom, isolationOf } from './isolation.ts'
export { PAC_TYPE, proxyPac } from './pac.ts'
export { type ProxyOptions, type ProxyServer, startProxy } from './server.ts'
export { type SocksOptions, startSocks } from './socks.ts'
export { authorityOf, type GyreHost, type HostTarget, hostOf, originTargetOf, type Target, targetOf } from './target.ts'
