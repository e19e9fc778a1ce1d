// Sends one message with the AI SDK's own transport, and prints the assistant's message that its reader makes of it.
import { DefaultChatTransport, readUIMessageStream } from 'ai';

const [api, chatId, text, cookie, csrfToken] = process.argv.slice(2);
const transport = new DefaultChatTransport({
  api,
  headers: { Cookie: cookie, 'X-CSRFToken': csrfToken },
});
const errors = [];
const stream = await transport.sendMessages({
  chatId,
  messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text }] }],
  trigger: 'submit-message',
});
let message = null;
for await (const read of readUIMessageStream({ stream, onError: (error) => errors.push(error.message) })) {
  message = read;
}
console.log(JSON.stringify({ message, errors }));
