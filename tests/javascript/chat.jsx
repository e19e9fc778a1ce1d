// A chat as an application writes it with the AI SDK for React.
import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport, isToolUIPart, lastAssistantMessageIsCompleteWithApprovalResponses } from 'ai';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

const csrfToken = document.cookie.match(/csrftoken=([^;]+)/)[1];
const transport = new DefaultChatTransport({
  api: '/ai/agents/helper/chat/',
  headers: { 'X-CSRFToken': csrfToken },
});

function Part({ part, decide }) {
  if (part.type === 'text') return <span>{part.text}</span>;
  if (!isToolUIPart(part)) return null;
  return (
    <div className="tool" data-state={part.state}>
      {part.type} {JSON.stringify(part.output)}
      {part.state === 'approval-requested' && (
        <>
          <button onClick={() => decide({ id: part.approval.id, approved: true })}>Approve</button>
          <button onClick={() => decide({ id: part.approval.id, approved: false, reason: 'Not today.' })}>Deny</button>
        </>
      )}
    </div>
  );
}

function Chat() {
  const id = new URLSearchParams(location.search).get('chat');
  const resume = new URLSearchParams(location.search).has('resume');
  const [text, setText] = useState('');
  const chat = useChat({
    id,
    transport,
    resume,
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  return (
    <>
      {chat.messages.map((message) => (
        <div key={message.id} className={message.role}>
          {message.parts.map((part, index) => (
            <Part key={index} part={part} decide={chat.addToolApprovalResponse} />
          ))}
        </div>
      ))}
      <p id="status">{chat.status}</p>
      <p id="error">{chat.error?.message}</p>
      <input value={text} onChange={(event) => setText(event.target.value)} />
      <button onClick={() => chat.sendMessage({ text })}>Send</button>
      <button onClick={chat.stop}>Stop</button>
    </>
  );
}

createRoot(document.getElementById('root')).render(<Chat />);
