/**
 * The builds in which a part of Gyre is missing that hides what a node does: the lab must then see it, or it could not have seen it before. Each is laid
 * over a node with taps in it, by hands on its classes and sockets; clock `swift`. Nothing in `src/`, `relay/` or `client/` knows of it.
 */
/** `sent-back`: answers go home the way that requests came; `unpadded`: records as long as contents; `yamux`: links of yamux, answers sent back;
 * `closed`: nothing is missing but layers and seals, as in all of them: what the others show must not show here. */
export const CONTROLS = ['sent-back', 'unpadded', 'yamux', 'closed'] as const
export type Control = (typeof CONTROLS)[number]
