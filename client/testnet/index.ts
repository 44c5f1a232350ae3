/** Networks of real node processes on loopback. */
export { apiOf, startTestnet, Testnet, type TestnetNode, type TestnetOptions } from './testnet.ts'
